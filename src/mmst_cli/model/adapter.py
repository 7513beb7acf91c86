"""An adapter put into a model: how it begins, and what the model's own weights are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.config.schema import AdapterConfig, AdapterInit, ModelConfig
from mmst_cli.errors import ModelError, first_line
from mmst_cli.model.adapter_folder import NAME, find_adapter, require_peft
from mmst_cli.model.adapter_layers import (
    KEY,
    check_adapter_fits,
    encoder_of,
    frozen_layers,
    layers_asked_for,
    modules_trained_whole,
    transformer_of,
)
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load_model import find_model
from mmst_cli.model.precision import dtype_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def check_adaptable(config: ModelConfig) -> None:
    """Notice before anything is loaded what keeps a model from being trained with an adapter, or being one.

    Raises:
        ModelError: peft isn't installed, or the model to be trained is an adapter itself.
    """
    if config.adapter is not None:
        require_peft(KEY)
    sources = {"model": (config.name_or_path, config.revision)} if config.name_or_path else {}
    sources |= {f"model.routes.{name}": (one.name_or_path, one.revision) for name, one in config.routes.items()}
    for key, (name, revision) in sources.items():
        if base := find_adapter(find_model(name), revision):
            raise ModelError(
                f"{key}.name_or_path: {name} is an adapter of {base.name}, and training begins with a whole model. Name"
                " the model/ of its run, which has it merged, or go on with that run by --resume."
            )


def add_adapter(model: SentenceTransformer, config: ModelConfig, seed: int) -> str:
    """Put an adapter into a model, which is in place, and let it alone be trained; return what came of it in words.

    Its weights are float32 whatever the model is held in, so that no update is lost to rounding, and begin as the
    seed says, whatever was drawn before. Modules behind the encoder, such as Dense, are trained as they would be.

    Args:
        model: the model; what is frozen in it by name gets none.
        config: the section, which has an ``adapter``.
        seed: of its first weights.

    Raises:
        ModelError: it has no such layers, or none of a kind that can have one.
    """
    from peft.functional import cast_adapter_dtype

    assert config.adapter is not None
    check_adapter_fits(model, config)
    encoder = encoder_of(model)
    encoder.name_or_path = _name_of_base(config)  # which transformers writes beside the adapter
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            encoder.add_adapter(_lora(config, model), NAME)
        except (ValueError, TypeError, NotImplementedError) as error:  # a kind of layer that peft has no LoRA for
            raise ModelError(f"{KEY}: {first_line(error)}") from error
    _refuse_unmergeable(encoder)
    cast_adapter_dtype(encoder, NAME)
    _save_with(model, config)
    return _in_words(model, config.adapter)


def _refuse_unmergeable(encoder: Any) -> None:
    """Refuse layers without one weight of their own: those of torch's attention are others' by turns."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in encoder.named_modules():
        if isinstance(layer, BaseTunerLayer) and not hasattr(layer.get_base_layer(), "weight"):
            kind = type(layer.get_base_layer()).__name__
            raise ModelError(f"{KEY}.target_modules: {name} is a {kind}, which takes no adapter here. Leave it out.")


def _lora(config: ModelConfig, model: SentenceTransformer) -> Any:
    from peft import LoraConfig

    adapter, frozen = config.adapter, frozen_layers(model, config.frozen)
    assert adapter is not None
    # An expression of whole names: of a list, peft also excludes what only ends in one of them.
    excluded = "|".join(re.escape(name) for name in layers_asked_for(encoder_of(model), adapter) if name in frozen)
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.target_modules,
        exclude_modules=excluded or None,
        modules_to_save=modules_trained_whole(model, config) or None,
        use_dora=adapter.use_dora,
        init_lora_weights=True if adapter.init is AdapterInit.default else str(adapter.init),
        revision=_revision_of_base(config),
    )


def _name_of_base(config: ModelConfig) -> str:
    """Return what the model is found by from anywhere: a hub id, or a folder's whole path."""
    source = find_model(config.name_or_path)
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def _revision_of_base(config: ModelConfig) -> str | None:
    """Return the commit that the base is at, or what the config calls it where no hub tells; None for a folder."""
    source = find_model(config.name_or_path)
    return None if Path(source).is_dir() else checkpoint_commit(source, config.revision) or config.revision


def _save_with(model: SentenceTransformer, config: ModelConfig) -> None:
    """Have the folder of the adapter say how its base is held: plain sentence-transformers loads it so."""
    module = transformer_of(model)
    kwargs: dict[str, Any] = {"dtype": dtype_name(module.model.dtype)}
    if config.quantization is not None:
        kwargs["quantization_config"] = module.model.config.quantization_config.to_dict()
    module.model_kwargs = kwargs
    module.config_keys = [*module.config_keys, "model_kwargs"]


def _in_words(model: SentenceTransformer, adapter: AdapterConfig) -> str:
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = sum(isinstance(module, BaseTunerLayer) for module in model.modules())
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    encoder = model.transformers_model
    inside = {id(one) for one in encoder.parameters()}
    # Of weights in four bits, transformers knows how many there are.
    every = encoder.num_parameters() + sum(one.numel() for one in model.parameters() if id(one) not in inside)
    kind = "DoRA" if adapter.use_dora else "LoRA"
    return (
        f"{kind} of rank {adapter.r} on {layers} layers: {trained / 1e6:.2f}M of {every / 1e6:.2f}M parameters are"
        f" trained ({trained / every:.2%})"
    )
