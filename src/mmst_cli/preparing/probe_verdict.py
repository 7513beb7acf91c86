"""What a comparison of a saved model with the measured one comes to, in sentences and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from mmst_cli.preparing.probe_comparison import EXACT, ProbeComparison, Tolerance
from mmst_cli.preparing.probe_inputs import ProbeInput

SHOWN = 3  # things of one kind that a sentence names


def find_faults(found: ProbeComparison, tolerance: Tolerance, *, may_stay: bool = False) -> list[str]:
    """Return a sentence on each way in which a folder doesn't hold what was measured; none if it does.

    Args:
        found: how the models differ.
        tolerance: how far apart vectors may be.
        may_stay: whether training could leave the model as it was.
    """
    faults = [_some(found.settings)] if found.settings else []
    largest = _largest(found.differences.values())
    if not largest <= tolerance.value:
        faults.append(_other_vectors(found, tolerance, largest))
    # Where the vectors are the same, other features don't matter: a mask of ones more or less.
    features = [*found.bounds, *(found.features if not largest <= EXACT else [])]
    if features:
        faults.append(_some(features))
    if found.lost:
        how = "as they were before training" if found.is_base else f"otherwise than in memory, such as {found.lost[0]}"
        faults.append(f"The folder holds {len(found.lost)} of the {found.changed} tensors that training changed {how}.")
    if found.movements and not may_stay and not found.changed and not any(found.movements.values()):
        faults.append(
            "Training has changed nothing: every vector is the one that the model gave before it. Look at its losses;"
            " under training.fp16 the first steps are skipped until the scale of the loss fits, so take more of them."
        )
    return faults


def praise(found: ProbeComparison, tolerance: Tolerance) -> str:
    """Return the sentence on a folder that holds what was measured."""
    if not found.differences:
        return (
            "A fresh process loads the saved model, whose tensors are those in memory"
            f" ({found.changed} of them changed by training). No vector was compared: plain sentence-transformers takes"
            " none of the inputs as they are."
        )
    sentence = (
        f"A fresh process that loads the saved model gives the vectors that were measured: {len(found.differences)}"
        f" inputs, largest difference {_largest(found.differences.values()):.2g}, {tolerance.value:g} allowed"
        f" ({tolerance.reason})."
    )
    if not found.movements:
        return sentence
    least, most = min(found.movements.values()), max(found.movements.values())
    return f"{sentence} Training has moved them by {least:.2g} to {most:.2g} of their length."


def comparison_figures(inputs: Sequence[ProbeInput], found: ProbeComparison, tolerance: Tolerance) -> dict[str, Any]:
    """Return the figures of a comparison as plain values: in all, by side and modality, and by input."""
    kinds: dict[tuple[str, str], list[int]] = {}
    for number in found.differences:
        kinds.setdefault((inputs[number]["side"], inputs[number]["kind"]), []).append(number)
    return {
        "tolerance": tolerance.value,
        "tolerance_reason": tolerance.reason,
        "largest_difference": _plain(_largest(found.differences.values())),
        "smallest_movement": _plain(min(found.movements.values(), default=None)),
        "tensors_changed_by_training": found.changed if found.movements else None,
        "tensors_not_saved_as_measured": len(found.lost),
        "kinds": [
            {
                "side": side,
                "modality": kind,
                "inputs": len(numbers),
                "largest_difference": _plain(_largest(found.differences[number] for number in numbers)),
                "smallest_movement": _plain(min((found.movements.get(number) for number in numbers), key=_last_none)),
            }
            for (side, kind), numbers in kinds.items()
        ],
        "inputs": [
            {
                "input": inputs[number]["place"],
                "side": inputs[number]["side"],
                "modality": inputs[number]["kind"],
                "difference": _plain(difference),
                "movement": _plain(found.movements.get(number)),
            }
            for number, difference in found.differences.items()
        ],
    }


def _other_vectors(found: ProbeComparison, tolerance: Tolerance, largest: float) -> str:
    far = sum(not difference <= tolerance.value for difference in found.differences.values())
    sentence = (
        f"{far} of {len(found.differences)} vectors differ from those that were measured, by up to {largest:.2g} of"
        f" their length, and {tolerance.value:g} is allowed ({tolerance.reason})."
    )
    if found.to_base and _largest(found.to_base.values()) <= tolerance.value:
        return f"{sentence} They are those of the model before training."
    if not found.features and not found.settings:
        return f"{sentence} Both process inputs alike, so that the weights or what is done with them are others."
    return sentence


def _some(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    shown = "; ".join(sentences[:SHOWN])
    return f"{shown[0].upper()}{shown[1:]}{more}."


def _largest(values: Iterable[float]) -> float:
    """Return the largest number; NaN if there is one, 0 if there is none."""
    numbers = list(values)
    return math.nan if any(map(math.isnan, numbers)) else max(numbers, default=0.0)


def _last_none(value: float | None) -> float:
    return math.inf if value is None else value


def _plain(value: float | None) -> float | str | None:
    """Return a number as JSON has it: NaN and infinity by name."""
    return value if value is None or math.isfinite(value) else str(value)
