"""Rules for the numbers in `training`: within which bounds each makes sense to the trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_LARGEST_SEED = 2**32 - 1  # numpy's

# Field to its least and its largest value, each None where there is none.
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (1, None)),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps", "torch_empty_cache_steps"), (1, None)),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps"), (0, None)),
    **dict.fromkeys(("eval_steps", "eval_delay", "dataloader_num_workers"), (0, None)),
    **dict.fromkeys(("dataloader_prefetch_factor", "save_total_limit", "ddp_timeout"), (1, None)),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "warmup_ratio", "label_smoothing_factor"), (0, 1)),
    **dict.fromkeys(("seed", "data_seed"), (0, _LARGEST_SEED)),
}
_BELOW_ONE = ("adam_beta1", "adam_beta2")
_ABOVE_ZERO = ("num_train_epochs",)


def check_training_values(training: Mapping[str, Any]) -> list[str]:
    """Return the faults of numbers that the trainer would refuse, or fail at, once the run is begun."""
    given = {n: v for n, v in training.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    above_zero = [*_ABOVE_ZERO, *(f"{w}_steps" for w in ("logging", "save") if training.get(f"{w}_strategy") != "no")]
    faults = []
    for name, value in given.items():
        if fits := _wanted(name, value, above_zero):
            faults.append(f"training.{name}: found {value}, but it is {fits}.")
    return faults


def _wanted(name: str, value: float, above_zero: list[str]) -> str | None:
    """Return what a number has to be, or None if it is that."""
    if not math.isfinite(value):
        return "a finite number"
    if name in above_zero:
        return None if value > 0 else "more than 0"
    if name == "max_steps":
        return None if value > 0 or value == -1 else "1 or more, or -1 to train for num_train_epochs"
    if name in _BELOW_ONE:
        return None if 0 <= value < 1 else "0 or more and less than 1"
    least, largest = _BOUNDS.get(name, (None, None))
    if (least is None or value >= least) and (largest is None or value <= largest):
        return None
    return f"{least:g} or more" if largest is None else f"between {least:g} and {int(largest)}"
