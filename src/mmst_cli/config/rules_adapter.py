"""Rules for adapters, what they are trained over, and what four or eight bits a weight allow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmst_cli.config.arguments import describe
from mmst_cli.config.schema import AdapterConfig, AdapterInit, Config, Dtype, ModelConfig, QuantizationConfig

ALL_LINEAR = "all-linear"
BITS = (4, 8)


def check_adapter(model: ModelConfig) -> list[str]:
    """Return the faults of `model.adapter` and `model.quantization`."""
    faults = _check_quantization(model.quantization, model.dtype) if model.quantization else []
    adapter = model.adapter
    if adapter is None:
        return faults
    if model.routes:
        faults.append("model.adapter: found beside routes. An adapter is for a model of one encoder: leave one out.")
    if adapter.r < 1:
        faults.append(f"model.adapter.r: found {adapter.r}; it is 1 or more.")
    elif adapter.init is AdapterInit.orthogonal and adapter.r % 2:
        faults.append(f"model.adapter.r: found {adapter.r}; it is even with init: orthogonal.")
    if adapter.alpha < 1:
        faults.append(f"model.adapter.alpha: found {adapter.alpha}; it is 1 or more.")
    if not 0 <= adapter.dropout < 1:
        faults.append(f"model.adapter.dropout: found {adapter.dropout:g}; it is 0 or more and less than 1.")
    return faults + _check_targets(adapter)


def _check_targets(adapter: AdapterConfig) -> list[str]:
    key, found = "model.adapter.target_modules", adapter.target_modules
    if not all(_is_name(name) for name in adapter.modules_to_save):
        return [f"model.adapter.modules_to_save: found {describe(adapter.modules_to_save)}; no name in it is empty."]
    if isinstance(found, str) and found:
        try:
            re.compile(found)
        except re.error as error:
            return [f"{key}: {found}: neither {ALL_LINEAR} nor a regular expression: {error}."]
        return []
    if not isinstance(found, list) or not found or not all(_is_name(name) for name in found):
        wanted = f"{ALL_LINEAR}, a list of ends of module names, or a regular expression of whole names"
        return [f"{key}: found {describe(found)}, but it takes {wanted}."]
    both = [name for name in found if name in adapter.modules_to_save]
    return [f"model.adapter.modules_to_save: {name} stands in target_modules, too. Keep one." for name in both]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _check_quantization(quantization: QuantizationConfig, dtype: Dtype) -> list[str]:
    faults = []
    if quantization.bits not in BITS:
        faults.append(f"model.quantization.bits: found {quantization.bits}; it is 4 or 8.")
    if dtype is Dtype.float32:
        faults.append(
            "model.dtype: float32 beside quantization: what isn't quantised, and what is computed, is held in it."
            " Write model.dtype=bfloat16."
        )
    return faults


def check_adapter_training(config: Config) -> list[str]:
    """Return the faults of training an adapter: what would leave it untrained, and what quantised weights can't do."""
    model = config.model
    faults = _check_checkpointing(config) if model.adapter else []
    return faults + (_check_quantized_training(model) if model.quantization else [])


def _check_checkpointing(config: Config) -> list[str]:
    fields = ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
    return [
        f"training.{field}: use_reentrant would leave an adapter without gradients wherever no input of a layer has"
        " any, as in a tower for images. Leave it out."
        for field in fields
        if isinstance(given := config.training.get(field), Mapping) and given.get("use_reentrant")
    ]


def _check_quantized_training(model: ModelConfig) -> list[str]:
    if model.routes:
        return ["model.quantization: found beside routes, which are trained whole. Leave it out."]
    if model.adapter is None:
        return ["model.quantization: weights of a few bits can't be trained. Train an adapter: model.adapter={}."]
    if model.adapter.merge:
        return [
            "model.adapter.merge: true, but quantised weights have no room for what an adapter adds, and merged with"
            " others it is not the model that is measured. Write model.adapter.merge=false."
        ]
    return []
