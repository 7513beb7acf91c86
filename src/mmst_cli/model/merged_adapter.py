"""An adapter added to the weights it stands beside, and a model seen without its adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmst_cli.errors import ModelError
from mmst_cli.model.adapter_folder import NAME
from mmst_cli.model.adapter_layers import transformer_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def has_adapter(model: SentenceTransformer) -> bool:
    """Say whether an adapter is in a model."""
    return bool(getattr(model.transformers_model, "_hf_peft_config_loaded", False))


@torch.no_grad()  # type: ignore[untyped-decorator]
def merge_adapter(model: SentenceTransformer) -> None:
    """Add what an adapter has learned to the weights, in place and in float32; they are then held as they were.

    Added in half precision it would be rounded twice. The adapter's own weights stay, and are no longer used.

    Raises:
        ValueError: a weight is no longer finite.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in model.modules():
        if isinstance(layer, BaseTunerLayer) and not layer.merged:
            weight = layer.get_base_layer().weight
            held = weight.dtype
            weight.data = weight.data.float()
            layer.merge(safe_merge=True)
            weight.data = weight.data.to(held)


def absorb_adapter(model: SentenceTransformer, name: str) -> None:
    """Merge the adapter of a model, if it has one, for good: from here on it is a whole model like others.

    Args:
        model: the model; changed in place.
        name: what it is called in messages.

    Raises:
        ModelError: its weights are quantised.
    """
    if not has_adapter(model):
        return
    if getattr(model.transformers_model, "hf_quantizer", None) is not None:
        raise ModelError(f"{name}: an adapter over quantised weights, which have no room for what it adds.")
    merge_adapter(model)
    _replace(model)


@contextmanager
def without_adapter(model: SentenceTransformer) -> Iterator[None]:
    """Have a model without the layers of its adapter, for as long as the context lasts: merged, it is what it was.

    It is then saved, named and evaluated as if there had never been an adapter.
    """
    encoder, module = model.transformers_model, transformer_of(model)
    settings, keys = encoder.peft_config, module.config_keys
    replaced = _replace(model)
    try:
        yield
    finally:
        for parent, name, part in replaced:
            setattr(parent, name, part)
        encoder.peft_config, encoder._hf_peft_config_loaded = settings, True
        module.config_keys = keys


def _replace(model: SentenceTransformer) -> list[tuple[nn.Module, str, nn.Module]]:
    """Put the layers below an adapter in its place, and return what was there: the parent, the name and the layer."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    encoder, module = model.transformers_model, transformer_of(model)
    replaced: list[tuple[nn.Module, str, nn.Module]] = []
    for name, part in list(encoder.named_modules()):
        above, _, own = name.rpartition(".")
        if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper):
            whole = part.get_base_layer() if isinstance(part, BaseTunerLayer) else part.modules_to_save[NAME]
            replaced.append((encoder.get_submodule(above), own, part))
            setattr(encoder.get_submodule(above), own, whole)
    del encoder.peft_config
    encoder._hf_peft_config_loaded = False
    module.config_keys = [key for key in module.config_keys if key != "model_kwargs"]
    return replaced
