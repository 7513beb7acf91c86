"""Which layers of a model an adapter gets, and what a config asks of them that they haven't."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from torch import nn

from mmst_cli.config.rules_adapter import ALL_LINEAR
from mmst_cli.config.schema import AdapterConfig, ModelConfig
from mmst_cli.errors import ModelError, did_you_mean
from mmst_cli.model.model_parts import router_of

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
    encoder = encoder_of(model)
    names = dict(encoder.named_modules())
    _check_named(names, config.adapter)
    frozen = frozen_layers(model, config.frozen)
    modules_trained_whole(model, config)
    found = {name: names[name] for name in layers_asked_for(encoder, config.adapter) if name not in frozen}
    if not found:
        why = "no layer is left that isn't frozen" if frozen else "no layer is found by it"
        raise ModelError(f"{KEY}.target_modules: {_asked(config.adapter)}: {why}. {_linear_names(names)}")
    _check_kinds(found, names, config.adapter)
    _check_rank(found, config.adapter)
    _check_statistics(names, config.adapter)


def transformer_of(model: SentenceTransformer) -> Any:
    """Return the module of sentence-transformers that has a model of transformers; None where there is none."""
    from sentence_transformers.base.modules import Transformer

    return next((one for one in model.modules() if isinstance(one, Transformer)), None)


def encoder_of(model: SentenceTransformer) -> Any:
    """Return the one model of transformers in a model.

    Raises:
        ModelError: there is none, or there are several.
    """
    encoder = getattr(transformer_of(model), "model", None)
    if router_of(model) is not None or encoder is None:
        what = "a model of several encoders" if router_of(model) is not None else "no model of transformers"
        raise ModelError(f"{KEY}: this is {what}, and an adapter is for one encoder of transformers. Leave it out.")
    return encoder


def layers_asked_for(encoder: Any, adapter: AdapterConfig) -> list[str]:
    """Return the names of the layers that `target_modules` stands for, by the rules of peft."""
    asked = adapter.target_modules
    if asked == ALL_LINEAR:
        return _linear(encoder)
    names = [name for name, _ in encoder.named_modules() if name]
    return [name for name in names if (_ends(name, asked) if isinstance(asked, list) else re.fullmatch(asked, name))]


def _linear(encoder: Any) -> list[str]:
    """Return the names of the layers that `all-linear` stands for: all that are linear, but for the output's."""
    from transformers.pytorch_utils import Conv1D

    output = encoder.get_output_embeddings()
    modules = encoder.named_modules()
    return [name for name, one in modules if isinstance(one, nn.Linear | Conv1D) and one is not output]


def modules_trained_whole(model: SentenceTransformer, config: ModelConfig) -> list[str]:
    """Return what `modules_to_save` stands for, without what is frozen: ends of names, or where some are, whole names.

    Raises:
        ModelError: all that one of them finds is frozen, or a part of it.
    """
    assert config.adapter is not None
    ends, frozen = config.adapter.modules_to_save, _frozen_parameters(model, config.frozen)
    left = []
    for number, end in enumerate(ends if frozen else ()):
        found = {name: module for name, module in encoder_of(model).named_modules() if _ends(name, [end])}
        shares = {name: [id(one) in frozen for one in module.parameters()] for name, module in found.items()}
        if partly := next((name for name, share in shares.items() if any(share) and not all(share)), None):
            raise ModelError(
                f"{KEY}.modules_to_save.{number}: {end}: {partly} would be trained whole, and model.frozen freezes a"
                " part of it. Leave it out of one of the two."
            )
        if found and all(all(share) for share in shares.values()):
            raise ModelError(
                f"{KEY}.modules_to_save.{number}: {end}: all that it finds is frozen by model.frozen. Leave it out of"
                " one of the two."
            )
        left += [name for name, share in shares.items() if not all(share)]
    return left if frozen else list(ends)


def frozen_layers(model: SentenceTransformer, patterns: Iterable[str]) -> set[str]:
    """Return the names of an encoder's modules whose own weights are frozen by name; quantised ones all are."""
    matched, modules = _frozen_parameters(model, patterns), encoder_of(model).named_modules()
    return {name for name, one in modules if any(id(own) in matched for own in one.parameters(recurse=False))}


def _frozen_parameters(model: SentenceTransformer, patterns: Iterable[str]) -> set[int]:
    return {id(one) for name, one in model.named_parameters() if any(re.search(each, name) for each in patterns)}


def _ends(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _check_named(names: Mapping[str, Any], adapter: AdapterConfig) -> None:
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


def _check_kinds(found: Mapping[str, Any], names: Mapping[str, Any], adapter: AdapterConfig) -> None:
    """Refuse modules that are made of others: an adapter stands beside a layer."""
    for name, module in found.items():
        if any(module.children()) and not isinstance(module, nn.MultiheadAttention):  # refused later, in its own words
            raise ModelError(
                f"{KEY}.target_modules: {_asked(adapter)}: {name} is found by it, a {type(module).__name__} of several"
                f" layers, and an adapter is for single ones. {_linear_names(names)}"
            )


def _check_rank(found: Mapping[str, Any], adapter: AdapterConfig) -> None:
    """Refuse a rank that no layer's own weights can have."""
    most = max((_full_rank(module) for module in found.values()), default=math.inf)
    if adapter.r > most:
        raise ModelError(
            f"{KEY}.r: found {adapter.r}, but no layer that gets the adapter has a rank above {most:g}, so that more"
            f" adds nothing. Write {most:g} or less."
        )


def _full_rank(module: Any) -> float:
    """Return the rank of a layer's weights at most; of four bits a weight, their shape doesn't tell it."""
    if isinstance(module, nn.Linear):
        return float(min(module.in_features, module.out_features))
    shape: list[int] = list(getattr(getattr(module, "weight", None), "shape", ()))
    return min(shape[0], math.prod(shape[1:])) if len(shape) > 1 else math.inf


def _check_statistics(names: Mapping[str, Any], adapter: AdapterConfig) -> None:
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


def _linear_names(names: Mapping[str, Any]) -> str:
    last = list(dict.fromkeys(n.rpartition(".")[2] for n, one in names.items() if isinstance(one, nn.Linear)))
    more = f" and {len(last) - _SHOWN} more" if len(last) > _SHOWN else ""
    return f"Linear layers are called {', '.join(last[:_SHOWN])}{more}." if last else "It has no linear layers."


def _asked(adapter: AdapterConfig) -> str:
    asked = adapter.target_modules
    return ", ".join(asked) if isinstance(asked, list) else str(asked)
