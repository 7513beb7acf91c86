"""Embed a probe by plain sentence-transformers: in memory by import, in a process of its own as a script.

Run by its path, it loads models as their user would and imports nothing of this package, but where only this package
loads what was trained (an adapter over another revision than the default one). It reads a request a line from
stdin, writes what it found into the folder of the request, and answers with a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

PROBE, ANSWER, VECTORS = "probe.json", "answer.json", "vectors.safetensors"
BOUNDS = ("size", "crop_size", "fps", "num_frames", "min_frames", "max_frames", "do_sample_frames", "sampling_rate")
"""What parts of a processor resize, cut and sample to: inputs of some shapes alone would show it."""
SEED = 0  # before each input: some processors take a piece of a long sound at random


@dataclass(frozen=True)
class Embedded:
    """What a model makes of a probe."""

    vectors: dict[str, Any]
    """Number of an input to its vector, a float32 tensor of shape (dimensions,) on the CPU."""
    features: dict[str, dict[str, Any]]
    """Number of an input to what the processor made of it, each tensor in a few words."""
    settings: dict[str, Any]
    """What else a model is saved with: prompts, modules, similarity, dtype, attention."""
    weights: dict[str, str]
    """Name to digest of each tensor."""


def embed(model: Any, inputs: Sequence[Mapping[str, Any]], autocast: str | None = None) -> Embedded:
    """Embed inputs as :func:`embed_inputs` does, and look at the model itself."""
    vectors, features = embed_inputs(model, inputs, autocast)
    return Embedded(vectors, features, _settings(model), digest_weights(model))


def embed_inputs(
    model: Any, inputs: Sequence[Mapping[str, Any]], autocast: str | None = None
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Embed inputs one at a time, so that nothing hangs on what else is in a batch.

    Args:
        model: a SentenceTransformer.
        inputs: each with ``value``; ``side``, query or document, or None where only the processor's work is of
            interest and ``value`` is a batch; and ``options`` for encoding.
        autocast: dtype of mixed precision.

    Returns:
        Vectors and features, as :class:`Embedded` has them.
    """
    vectors: dict[str, Any] = {}
    features: dict[str, dict[str, Any]] = {}
    with _forward_inputs(model) as seen:
        for number, item in enumerate(inputs):
            _seed()
            if item["side"] is None:
                features[str(number)] = _in_words(model.preprocess(item["value"], **item["options"]))
                continue
            encode = model.encode_query if item["side"] == "query" else model.encode_document
            with _autocast(model, autocast):
                found = encode(
                    [item["value"]], batch_size=1, convert_to_tensor=True, show_progress_bar=False, **item["options"]
                )
            vectors[str(number)] = found[0].detach().float().cpu().contiguous()
            features[str(number)] = _in_words(seen[-1])
            seen.clear()
    return vectors, features


def digest_weights(model: Any) -> dict[str, str]:
    """Return the name of each tensor of a model to a digest of its dtype, shape and bytes.

    A weight that an adapter stands beside has the name that it has without one.
    """
    import torch
    import xxhash

    found = {}
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            name = name.replace(".base_layer.", ".").replace(".original_module.", ".")
            found[name] = f"{tensor.dtype} {list(tensor.shape)} {xxhash.xxh3_128_hexdigest(content)}"
    return found


def write_inputs(inputs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write inputs as JSON, and their images, sounds and frames as .npy files beside it."""
    arrays: list[Any] = []
    (folder / PROBE).write_text(json.dumps([_stored(dict(item), arrays) for item in inputs]), encoding="utf-8")
    import numpy as np

    for number, array in enumerate(arrays):
        np.save(folder / f"{number}.npy", array, allow_pickle=False)


def read_inputs(folder: Path) -> list[dict[str, Any]]:
    """Read what :func:`write_inputs` wrote."""
    return [_restored(item, folder) for item in json.loads((folder / PROBE).read_text(encoding="utf-8"))]


def _stored(value: Any, arrays: list[Any]) -> Any:
    import numpy as np
    from PIL import Image

    if isinstance(value, Image.Image):
        arrays.append(np.asarray(value))
        return {"__image__": len(arrays) - 1, "mode": value.mode}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"__array__": len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _stored(entry, arrays) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_stored(entry, arrays) for entry in value]
    return value


def _restored(value: Any, folder: Path) -> Any:
    import numpy as np
    from PIL import Image

    if isinstance(value, list):
        return [_restored(entry, folder) for entry in value]
    if not isinstance(value, dict):
        return value
    if "__array__" in value:
        return np.load(folder / f"{value['__array__']}.npy", allow_pickle=False)
    if "__image__" in value:
        return Image.fromarray(np.load(folder / f"{value['__image__']}.npy", allow_pickle=False)).convert(value["mode"])
    return {key: _restored(entry, folder) for key, entry in value.items()}


@contextlib.contextmanager
def _forward_inputs(model: Any) -> Iterator[list[Any]]:
    """Keep what the model is called with, for as long as the context lasts."""
    seen: list[Any] = []
    # In words at once: modules put their results into the same dict.
    handle = model.register_forward_pre_hook(lambda _, arguments: seen.append(dict(arguments[0])))
    try:
        yield seen
    finally:
        handle.remove()


def _in_words(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of features in a few words: whole numbers by a digest, others by shape, mean and size."""
    import torch
    import xxhash

    found: dict[str, Any] = {}
    for name, value in features.items():
        if not isinstance(value, torch.Tensor):
            continue
        words: dict[str, Any] = {"shape": list(value.shape)}
        if value.is_floating_point():
            exact = value.detach().cpu().double()
            words |= {"mean": float(exact.mean()), "size": float(exact.abs().mean())}
        else:
            words["digest"] = xxhash.xxh3_64_hexdigest(value.detach().cpu().long().contiguous().numpy())
        found[name] = words
    return found


def _settings(model: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "prompts": {name: prompt for name, prompt in model.prompts.items() if prompt},
        "default prompt": model.default_prompt_name,
        "similarity": str(model.similarity_fn_name),
        "modules": [type(module).__name__ for module in model],
    }
    pooling: list[str] = []  # of each route
    for module in model.modules():
        if type(module).__name__ == "Pooling":
            mode = module.pooling_mode
            pooling.append(mode if isinstance(mode, str) else "+".join(mode))
    settings["pooling"] = ", ".join(pooling)
    settings |= {"vocabulary": _digest(map(_vocabulary, _readers(model))), "chat template": _digest(_templates(model))}
    settings["bounds"] = _bounds(model)
    settings["adapter"] = "in it" if any(getattr(part, "peft_config", None) for part in model.modules()) else "none"
    config = getattr(model, "config", None)
    settings["attention"] = str(getattr(config, "_attn_implementation", None))
    settings["dtype"] = str(model.dtype).removeprefix("torch.")
    return settings


def _readers(model: Any) -> list[Any]:
    """Return what the parts of a model read texts with, each once."""
    found = {id(reader): reader for part in model.modules() if (reader := getattr(part, "tokenizer", None)) is not None}
    return list(found.values())


def _vocabulary(reader: Any) -> Any:
    """Return all that makes tokens of a text, without the lengths of the last batch, which are kept beside it."""
    rust = getattr(reader, "backend_tokenizer", reader)
    if hasattr(rust, "to_str"):
        return {**json.loads(rust.to_str()), "padding": None, "truncation": None}
    vocabulary = reader.get_vocab()
    return sorted(vocabulary.items()) if isinstance(vocabulary, Mapping) else list(vocabulary)


def _templates(model: Any) -> Iterator[Any]:
    """Yield the chat templates of the parts of a model."""
    for part in model.modules():
        for owner in (getattr(part, "processor", None), getattr(part, "tokenizer", None)):
            if template := getattr(owner, "chat_template", None):
                yield template


def _bounds(model: Any) -> dict[str, Any]:
    """Return the bounds of the processors of a model, each under its dotted name."""
    found: dict[str, Any] = {}
    for name, part in list(model.named_modules())[1:]:  # the model itself names its first part's
        for kind in ("image_processor", "video_processor", "feature_extractor"):
            owner = getattr(getattr(part, "processor", None), kind, None)
            for bound in BOUNDS:
                value = getattr(owner, bound, None)
                if value is not None and not isinstance(value, bool | int | float):  # a class of transformers' own
                    value = {side: pixels for side, pixels in dict(value).items() if pixels is not None}
                if value is not None:
                    found[f"{kind}.{bound} of module {name}"] = value
    return found


def _digest(values: Iterable[Any]) -> str:
    import xxhash

    return xxhash.xxh3_64_hexdigest(json.dumps(list(values), sort_keys=True, default=str).encode())


def _seed() -> None:
    import numpy as np
    import torch

    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


def _autocast(model: Any, dtype: str | None) -> Any:
    import torch

    return torch.autocast(model.device.type, dtype=getattr(torch, dtype)) if dtype else contextlib.nullcontext()


def _answer(request: Mapping[str, Any]) -> None:
    """Load a model as its user would, embed the probe, and write down what came of it."""
    import torch
    from safetensors.torch import save_file
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(request["threads"])
    folder = Path(request["folder"])
    options = {"trust_remote_code": True} if request["trust_remote_code"] else {}
    load: Any = partial(SentenceTransformer, device=request["device"], **options)
    if request["at_revision"]:  # which sentence-transformers leaves out of account
        from mmst_cli.model.adapter_folder import load_with_adapter

        model = load_with_adapter(request["model"], None, lambda name, revision: load(name, revision=revision))
    else:
        model = load(request["model"])
    found = embed(model, read_inputs(folder), request["autocast"])
    save_file(found.vectors, str(folder / VECTORS))
    answer = {"features": found.features, "settings": found.settings, "weights": found.weights}
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer a request a line until there are no more."""
    import sentence_transformers  # noqa: F401  (takes seconds, in which the other side still trains)

    for line in requests:
        try:
            _answer(json.loads(line))
            answer: dict[str, str | None] = {"error": None}
        except Exception as error:
            sentence = " ".join(str(error).split()) or "no reason given"
            answer = {"error": f"{type(error).__name__}: {sentence}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    # What libraries print is not an answer.
    line_out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _serve(sys.stdin, line_out)
