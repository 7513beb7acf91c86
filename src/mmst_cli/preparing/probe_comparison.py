"""What two embeddings of one probe differ by, and how much they may."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mmst_cli.preparing.plain_probe import Embedded
from mmst_cli.preparing.probe_inputs import ProbeInput

SAME_PLACE = {"float32": 1e-6, "float16": 3e-3, "bfloat16": 2e-2}
"""On the same CPU, or in half precision on the same GPU: about eight roundings of float32 (1.2e-7), and three of the
half ones (9.8e-4, 7.8e-3). The same computation gives the same bits; what is allowed is for a library that chooses
another kernel in another process."""
SAME_GPU = {**SAME_PLACE, "float32": 1e-4}
"""Convolutions of float32 may run in TF32 there (rounding 9.8e-4), by whichever algorithm is found to be fastest."""
OTHER_PLACE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
"""On the CPU instead of the GPU, or with another attention implementation: the same model by other arithmetic."""
EXACT = 1e-6  # below which other features make no difference
FEATURE_DIFFERENCE = 1e-4  # of their mean, by share: resizing may round another way


@dataclass(frozen=True)
class Tolerance:
    """How far apart two vectors of the same model may be, as a share of their length."""

    value: float
    reason: str


def choose_tolerance(
    dtype: str, measured_on: str, loaded_on: str, *, same_attention: bool = True, measured_in: str | None = None
) -> Tolerance:
    """Return what may differ between the model that was measured and the one that was loaded.

    Args:
        dtype: what is computed in: that of autocast, else of the weights.
        measured_on: type of the device in memory, as `cuda`.
        loaded_on: the same of the fresh process.
        same_attention: whether both have the same attention implementation.
        measured_in: what the one in memory was computed in, if that is another.
    """
    if measured_in not in (None, dtype):
        lowest = max(OTHER_PLACE.get(dtype, EXACT), OTHER_PLACE.get(str(measured_in), EXACT))
        return Tolerance(lowest, f"{dtype}, measured in {measured_in}")
    if measured_on != loaded_on:
        return Tolerance(OTHER_PLACE.get(dtype, EXACT), f"{dtype}, measured on {measured_on}, loaded on {loaded_on}")
    if not same_attention:
        return Tolerance(
            OTHER_PLACE.get(dtype, EXACT), f"{dtype} on {loaded_on}, with another attention implementation"
        )
    allowed = SAME_PLACE if loaded_on == "cpu" else SAME_GPU
    return Tolerance(allowed.get(dtype, EXACT), f"{dtype} on {loaded_on}, as measured")


@dataclass
class ProbeComparison:
    """How a saved model, the one in memory and the one before training differ.

    Distances are Euclidean, as shares of the vector's length: of normalised vectors 0 to 2.
    """

    differences: dict[int, float] = field(default_factory=dict)
    """Number of an input to the distance of what was saved from what was measured."""
    movements: dict[int, float] = field(default_factory=dict)
    """The same of what was measured from what training began with."""
    to_base: dict[int, float] = field(default_factory=dict)
    """The same of what was saved from what training began with."""
    features: list[str] = field(default_factory=list)
    """Sentences on what the saved processor makes otherwise of inputs that are embedded."""
    bounds: list[str] = field(default_factory=list)
    """The same of inputs that only show its bounds."""
    settings: list[str] = field(default_factory=list)
    """Sentences on settings that were saved otherwise."""
    changed: int = 0
    """Tensors that training changed."""
    lost: list[str] = field(default_factory=list)
    """Names of those that are not in the folder as they are in memory."""
    is_base: bool = False
    """Whether all tensors that training changed are in the folder as they were before it."""


def compare_probes(
    inputs: Sequence[ProbeInput], memory: Embedded, saved: Embedded, base: Embedded | None
) -> ProbeComparison:
    """Compare what the model in memory, the saved one and the one before training make of the same inputs."""
    found = ProbeComparison()
    for number, item in enumerate(inputs):
        key = str(number)
        others = _other_features(item, memory.features[key], saved.features[key])
        if key not in memory.vectors:
            found.bounds += others
            continue
        found.features += others
        found.differences[number] = distance(saved.vectors[key], memory.vectors[key])
        if base is not None:
            found.movements[number] = distance(memory.vectors[key], base.vectors[key])
            found.to_base[number] = distance(saved.vectors[key], base.vectors[key])
    found.settings = _other_settings(memory.settings, saved.settings)
    if base is not None:
        changed = [name for name, digest in memory.weights.items() if base.weights.get(name) != digest]
        found.changed = len(changed)
        # Exported in another dtype, or under other names, it has other tensors: the vectors decide alone.
        there = [name for name in changed if _kind(saved.weights.get(name)) == _kind(memory.weights[name])]
        found.lost = [name for name in there if saved.weights[name] != memory.weights[name]]
        found.is_base = bool(there) and all(saved.weights[name] == base.weights.get(name) for name in there)
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the Euclidean distance of two vectors as a share of the second's length.

    Infinite if their shapes differ, NaN if one holds NaN.
    """
    if one.shape != other.shape:
        return math.inf
    length = float(other.double().norm())
    return float((one.double() - other.double()).norm()) / (length or 1.0)


def _kind(digest: str | None) -> str | None:
    """Return dtype and shape of a digest of weights."""
    return digest and digest.rpartition(" ")[0]


def _other_features(item: ProbeInput, memory: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the features that differ, if any do, with the shape of the first."""
    names = [name for name in sorted(memory.keys() | saved.keys()) if not _alike(memory.get(name), saved.get(name))]
    # Other shapes tell more than other numbers.
    names.sort(key=lambda name: _shape(memory.get(name)) == _shape(saved.get(name)))
    if not names:
        return []
    shapes = f"{_shape(saved.get(names[0]))}, and {_shape(memory.get(names[0]))} in memory"
    return [f"of {item['place']} the saved processor makes other {', '.join(names)} ({shapes})"]


def _alike(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.keys() != other.keys() or one["shape"] != other["shape"]:
        return False
    if "digest" in one:
        return bool(one["digest"] == other["digest"])
    size = max(one["size"], other["size"])
    # NaN of nothing is as NaN of nothing.
    return all(
        abs(one[name] - other[name]) <= FEATURE_DIFFERENCE * size or one[name] != one[name] for name in ("mean", "size")
    )


def _shape(words: Mapping[str, Any] | None) -> str:
    return "none" if words is None else "x".join(map(str, words["shape"])) or "one number"


def _other_settings(memory: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    names = ["prompts", "default prompt", "similarity", "modules", "pooling", "dtype", "vocabulary", "chat template"]
    names.append("adapter")
    memory, saved = ({**settings, **settings.get("bounds", {})} for settings in (memory, saved))
    names += sorted(memory.get("bounds", {}).keys() | saved.get("bounds", {}).keys())
    return [
        f"{name}: {saved.get(name)!r} in the folder, {memory.get(name)!r} in memory"
        for name in names
        if memory.get(name) != saved.get(name)
    ]
