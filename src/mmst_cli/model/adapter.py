"""An adapter put into a model: which of its layers get one, how it begins, and what the model's own weights are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmst_cli.config.rules_adapter import ALL_LINEAR
from mmst_cli.config.schema import AdapterConfig, AdapterInit, ModelConfig
from mmst_cli.errors import ModelError, did_you_mean, first_line
from mmst_cli.model.adapter_folder import NAME, find_adapter, require_peft
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_parts import router_of
from mmst_cli.model.precision import dtype_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

KEY = "model.adapter"
_SHOWN = 12  # names that a message gives


def check_adapter_fits(model: SentenceTransformer, config: ModelConfig) -> None:
    """Check that a model, with its weights or without, has the layers that `model.adapter` names.

    Raises:
        ModelError: it hasn't, or it is none that takes an adapter; the message begins with the key.
    """
    assert config.adapter is not None
    encoder = _encoder(model)
    names = dict(encoder.named_modules())
    _check_named(names, config.adapter)
    frozen = _frozen(model, config.frozen)
    if not set(_asked_for(encoder, config.adapter)) - frozen:
        why = "no layer is left that isn't frozen" if frozen else "no layer is found by it"
        raise ModelError(f"{KEY}.target_modules: {_asked(config.adapter)}: {why}. {_linear_names(names)}")
    _check_statistics(names, config.adapter)


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
    encoder = _encoder(model)
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


def transformer_of(model: SentenceTransformer) -> Any:
    """Return the module of sentence-transformers that has a model of transformers; None where there is none."""
    from sentence_transformers.base.modules import Transformer

    return next((one for one in model.modules() if isinstance(one, Transformer)), None)


def _encoder(model: SentenceTransformer) -> Any:
    """Return the one model of transformers in a model.

    Raises:
        ModelError: there is none, or there are several.
    """
    encoder = getattr(transformer_of(model), "model", None)
    if router_of(model) is not None or encoder is None:
        what = "a model of several encoders" if router_of(model) is not None else "no model of transformers"
        raise ModelError(f"{KEY}: this is {what}, and an adapter is for one encoder of transformers. Leave it out.")
    return encoder


def _lora(config: ModelConfig, model: SentenceTransformer) -> Any:
    from peft import LoraConfig

    adapter, frozen = config.adapter, _frozen(model, config.frozen)
    assert adapter is not None
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=adapter.target_modules,
        exclude_modules=[name for name in _asked_for(_encoder(model), adapter) if name in frozen] or None,
        modules_to_save=list(adapter.modules_to_save) or None,
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


def _linear(encoder: Any) -> list[str]:
    """Return the names of the layers that `all-linear` stands for: all that are linear, but for the output's."""
    from transformers.pytorch_utils import Conv1D

    output = encoder.get_output_embeddings()
    modules = encoder.named_modules()
    return [name for name, one in modules if isinstance(one, nn.Linear | Conv1D) and one is not output]


def _asked_for(encoder: Any, adapter: AdapterConfig) -> list[str]:
    """Return the names of the layers that `target_modules` stands for, by the rules of peft."""
    asked = adapter.target_modules
    if asked == ALL_LINEAR:
        return _linear(encoder)
    names = [name for name, _ in encoder.named_modules() if name]
    return [name for name in names if (_ends(name, asked) if isinstance(asked, list) else re.fullmatch(asked, name))]


def _frozen(model: SentenceTransformer, patterns: Iterable[str]) -> set[str]:
    """Return the names of an encoder's modules whose own weights are frozen by name; quantised ones all are."""
    matched = {id(one) for name, one in model.named_parameters() if any(re.search(each, name) for each in patterns)}
    modules = _encoder(model).named_modules()
    return {name for name, one in modules if any(id(own) in matched for own in one.parameters(recurse=False))}


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _check_named(names: dict[str, Any], adapter: AdapterConfig) -> None:
    """Check each end of a name by itself: peft minds only where none of them is found."""
    lists = {"target_modules": adapter.target_modules, "modules_to_save": adapter.modules_to_save}
    for field, ends in lists.items():
        for number, end in enumerate(ends if isinstance(ends, list) else ()):
            if not any(_ends(name, [end]) for name in names):
                pieces = {piece for name in names for piece in name.split(".")}
                raise ModelError(
                    f"{KEY}.{field}.{number}: {end}: no module has a name that ends so.{did_you_mean(end, pieces)}"
                    f" {_linear_names(names)}"
                )


def _linear_names(names: dict[str, Any]) -> str:
    last = list(dict.fromkeys(n.rpartition(".")[2] for n, one in names.items() if isinstance(one, nn.Linear)))
    more = f" and {len(last) - _SHOWN} more" if len(last) > _SHOWN else ""
    return f"Linear layers are called {', '.join(last[:_SHOWN])}{more}." if last else "It has no linear layers."


def _asked(adapter: AdapterConfig) -> str:
    asked = adapter.target_modules
    return ", ".join(asked) if isinstance(asked, list) else str(asked)


def _check_statistics(names: dict[str, Any], adapter: AdapterConfig) -> None:
    """Refuse layers whose statistics move while their weights don't: no adapter holds them, and a merged model does."""
    moving = [
        name
        for name, module in names.items()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.track_running_stats
        and not any(_ends(above, adapter.modules_to_save) for above in accumulate(name.split("."), "{}.{}".format))
    ]
    if moving:
        ends = list(dict.fromkeys(name.rpartition(".")[2] for name in moving))
        raise ModelError(
            f"{KEY}: {moving[0]} is a BatchNorm, whose statistics move in training and would be in no adapter. Train it"
            f" with the adapter: {KEY}.modules_to_save=[{', '.join(ends)}]."
        )


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
