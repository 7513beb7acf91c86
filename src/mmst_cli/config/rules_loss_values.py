"""Rules for numbers in the arguments of losses: those with which a loss is no number, turns around, or does nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmst_cli.config.rules_loss import used_losses
from mmst_cli.config.rules_masking import MASK
from mmst_cli.config.schema import Config
from mmst_cli.config.user_classes import is_dotted

_ABOVE_ZERO = r"scale|(\w+_)?temperature"
_ZERO_IS_OFF = ("kl_temperature",)
_WEIGHTS = r"\w+_weights?"
_COUNTS = {"n_dims_per_step": "matryoshka_dims", "n_layers_per_step": None}
"""How many of something each step takes, -1 for all; to the argument that lists what there is."""


def check_loss_values(config: Config) -> list[str]:
    """Return the faults of numbers in the arguments of the losses of sentence-transformers."""
    faults: list[str] = []
    for key, layers in used_losses(config).items():
        for index, layer in enumerate(layers):
            if not is_dotted(layer.type):
                faults += _faults_of(layer.args, f"{key}.{index}.args")
    return faults


def _faults_of(args: Mapping[str, Any], key: str) -> Iterator[str]:
    for name, value in args.items():
        if name == MASK:  # which has its own rules
            continue
        numbers = [one for one in (value if isinstance(value, list) else [value]) if _is_number(one)]
        if broken := [number for number in numbers if not math.isfinite(number)]:
            yield f"{key}.{name}: found {broken[0]}, but it is a finite number."
        elif numbers and (wanted := _wanted(name, numbers, args)):
            yield f"{key}.{name}: found {', '.join(f'{number:g}' for number in numbers)}, but {wanted}."


def _wanted(name: str, numbers: list[float], args: Mapping[str, Any]) -> str | None:
    """Return what an argument has to be, or None if it is that."""
    least, sum_of = min(numbers), sum(numbers)
    if name in _COUNTS:
        listed = args.get(_COUNTS[name] or "")
        most = len(listed) if isinstance(listed, list) else math.inf
        if least == -1 or 1 <= least <= most:
            return None
        return f"it is {f'between 1 and {most}' if most < math.inf else '1 or more'}, or -1 for all"
    if re.fullmatch(_ABOVE_ZERO, name):
        if name in _ZERO_IS_OFF:
            return "it is 0 or more" if least < 0 else None
        return "it is more than 0" if least <= 0 else None
    if re.fullmatch(_WEIGHTS, name) and least < 0:
        return "a weight is 0 or more: below that, what it weighs is unlearned"
    if name == "matryoshka_weights" and sum_of == 0:
        return "one of them is more than 0, or nothing is learned"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
