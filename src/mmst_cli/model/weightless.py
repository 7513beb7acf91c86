"""Building a model from its configs alone: every module in its place, and no weight read or downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from mmst_cli.config.schema import Attention, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.adapter_folder import load_with_adapter
from mmst_cli.model.checkpoint import is_raw, run_trusts
from mmst_cli.model.load_model import check_loadable, load_model
from mmst_cli.model.vector_width import settle_width

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_without_weights(
    source: str, revision: str | None = None, trust_remote_code: bool = False
) -> SentenceTransformer:
    """Return the model with all of its parameters on the meta device, where they have a shape and no values.

    It can be asked for everything but vectors. sentence-transformers itself puts it together, so that what
    it finds out about modalities is found out here.

    Args:
        source: a model folder or hub id.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: its configs can't be read.
    """
    from sentence_transformers import SentenceTransformer

    trusted = trust_remote_code or run_trusts(source)

    def build(name: str, revision: str | None) -> SentenceTransformer:
        return SentenceTransformer(name, revision=revision, device="meta", trust_remote_code=trusted)

    try:
        with _no_weights():
            model = load_with_adapter(source, revision, build, weights=False)
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        at = f" at revision {revision}" if revision else ""
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{source}{at} can't be inspected: {first_line}") from error
    if is_raw(source, revision):
        settle_width(model)
    return model


def load_without_weights(config: ModelConfig) -> SentenceTransformer:
    """Load a model as :func:`mmst_cli.model.load_model.load_model` does, routes and processors included, but no weight.

    Raises:
        ModelError: it isn't there, can't be read, or doesn't fit together.
    """
    device = torch.device("meta")
    config = config.model_copy(update={"quantization": None})  # without values there is nothing to hold in fewer bits
    check_loadable(config, torch.device("cpu"))  # a built-in model is built here, where it can have weights
    with _no_weights():
        return load_model(config.model_copy(update={"attn_implementation": str(Attention.auto)}), device)[0]


@contextmanager
def _no_weights() -> Iterator[None]:
    """Replace the places through which sentence-transformers reads weights: it has no setting for this.

    Sizes of layers come from configs, so that everything but the values is what loading would give.
    """
    from sentence_transformers.base.modules import Module
    from sentence_transformers.sentence_transformer.modules import WordEmbeddings
    from transformers import PreTrainedModel

    replaced: list[tuple[Any, str, Any]] = [
        (PreTrainedModel, "from_pretrained", _from_config),
        (Module, "load_torch_weights", _skip_weights),
        (WordEmbeddings, "load", partial(_load_without_values, vars(WordEmbeddings)["load"].__func__)),
    ]
    originals = [vars(owner)[name] for owner, name, _ in replaced]
    for owner, name, stand_in in replaced:
        setattr(owner, name, classmethod(stand_in))
    try:
        yield
    finally:
        for (owner, name, _), original in zip(replaced, originals, strict=True):
            setattr(owner, name, original)


def _from_config(cls: type[Any], /, _name: str, *_args: Any, config: Any, **_kwargs: Any) -> Any:
    """Stand in for ``PreTrainedModel.from_pretrained``."""
    from transformers.initialization import meta_device_safe_creation_ops, no_init_weights

    with torch.device("meta"), meta_device_safe_creation_ops(), no_init_weights():
        model = cls(config).eval()
    model.tie_weights()  # as loading does: what is tied is one parameter
    return model


def _skip_weights(cls: type[Any], /, model_name_or_path: str, model: Any = None, **where: Any) -> Any:
    """Stand in for ``Module.load_torch_weights``, which fills ``model`` or returns tensors by name."""
    if model is not None:
        return model.to("meta")
    # Word and static embeddings take even their size from the weights: the file's header has it.
    path = cls.load_file_path(model_name_or_path, filename="model.safetensors", **where)
    if path is None:
        raise ModelError(
            f"{model_name_or_path}: {cls.__name__} has no config of its own, and its weights aren't there."
        )
    return {name: torch.empty(shape, device="meta") for name, (shape, _) in stored_tensors(Path(path)).items()}


def _load_without_values(load: Any, cls: type[Any], /, *args: Any, **kwargs: Any) -> Any:
    """Stand in for ``WordEmbeddings.load``, whose layer copies the values that it is given."""
    with torch.device("meta"):
        return load(cls, *args, **kwargs)


def stored_tensors(path: Path) -> dict[str, tuple[list[int], str]]:
    """Return name to shape and dtype (`F32`, `BF16`) of the tensors in a safetensors file, by its header alone.

    Raises:
        ModelError: it is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
            return {name: (list(found.get_shape()), str(found.get_dtype())) for name, found in slices.items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: not a safetensors file: {error}") from error
