"""Models saved as the checkpoints that their family is published as, which is what servers read.

sentence-transformers saves the part of a vision-language model that it uses, under the names that this part gives its
weights. vLLM and SGLang look for the class and the names of the whole, take a request for fewer dimensions only where
config.json allows it, and know the modules and the pooling by the names that they had for years. Plain
sentence-transformers reads both to the same vectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.storage import write_text

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_MODULES = "sentence_transformers.models."
_OLD_NAMES = ("Transformer", "Pooling", "Normalize", "Dense")


def save_for_servers(model: SentenceTransformer, folder: Path, dims: Iterable[int] = ()) -> None:
    """Save a model so that servers and plain sentence-transformers read it; nothing may save over it afterwards.

    Args:
        model: the model.
        folder: where to.
        dims: the Matryoshka dimensions that it was trained at; none if it wasn't.
    """
    from transformers import PreTrainedModel

    with ExitStack() as stack:
        for part in [module for module in model.modules() if isinstance(module, PreTrainedModel)]:
            stack.enter_context(_saved_whole(part))
        model.save_pretrained(str(folder), create_model_card=False)
    _name_modules(folder / "modules.json")
    for pooling in folder.glob("**/*_Pooling/config.json"):
        _spell_out_pooling(pooling)
    config = folder / "config.json"
    if (trained := sorted(set(dims))) and config.is_file():  # it isn't where several encoders lie in folders below
        _write(config, _read(config) | {"is_matryoshka": True, "matryoshka_dimensions": trained})


@contextmanager
def _saved_whole(part: Any) -> Iterator[None]:
    """Let a part of a vision-language model save itself as the whole, without the head that isn't there."""
    if (kind := _whole_class(part)) is None:
        yield
        return
    with torch.device("meta"):
        whole: Any = kind(deepcopy(part.config)).to(part.dtype)
    if not isinstance(getattr(whole, kind.base_model_prefix, None), type(part)):  # its parts are others
        yield
        return
    setattr(whole, kind.base_model_prefix, part)
    there = {name: tensor for name, tensor in whole.state_dict().items() if tensor.device.type != "meta"}
    part.save_pretrained = lambda path, **options: whole.save_pretrained(path, state_dict=there, **options)
    try:
        yield
    finally:
        del part.save_pretrained


def _whole_class(part: Any) -> Any:
    """Return the class of the vision-language model that something is a part of; None where it is none, or adapted."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        MODEL_MAPPING_NAMES,
    )

    kind = part.config.model_type
    if type(part).__name__ != MODEL_MAPPING_NAMES.get(kind) or getattr(part, "_hf_peft_config_loaded", False):
        return None
    return getattr(transformers, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind, ""), None)


def _name_modules(path: Path) -> None:
    modules = _read(path)
    for module in modules:
        package, _, name = module["type"].rpartition(".")
        if package.startswith("sentence_transformers.") and name in _OLD_NAMES:
            module["type"] = _MODULES + name
    _write(path, modules)


def _spell_out_pooling(path: Path) -> None:
    from sentence_transformers.sentence_transformer.modules.pooling import _LEGACY_POOLING_MODE_KWARGS as FLAGS

    config = _read(path)
    mode = config.pop("pooling_mode")
    modes = [mode] if isinstance(mode, str) else mode
    # In this order: vLLM takes the first that is true.
    first = {"word_embedding_dimension": config.pop("embedding_dimension")}
    _write(path, first | {flag: name in modes for flag, name in FLAGS.items()} | config)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    # Not write_json: transformers writes infinities.
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
