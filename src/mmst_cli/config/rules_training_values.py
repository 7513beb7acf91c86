"""Rules for values in `training`: bounds of numbers, texts that are taken, fields that would do nothing here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmst_cli.config.schema import Config
from mmst_cli.errors import did_you_mean

_LARGEST_SEED = 2**32 - 1  # numpy's
_LARGEST_COUNT = 2**31 - 1  # more rows than any batch has, and than libraries count

# Field to its least and its largest value, each None where there is none.
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(("per_device_train_batch_size", "per_device_eval_batch_size"), (1, _LARGEST_COUNT)),
    **dict.fromkeys(("gradient_accumulation_steps", "eval_accumulation_steps", "torch_empty_cache_steps"), (1, None)),
    **dict.fromkeys(("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "warmup_steps"), (0, None)),
    **dict.fromkeys(("eval_steps", "eval_delay", "dataloader_num_workers"), (0, None)),
    **dict.fromkeys(("dataloader_prefetch_factor", "save_total_limit", "ddp_timeout", "ddp_bucket_cap_mb"), (1, None)),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "warmup_ratio", "label_smoothing_factor"), (0, 1)),
    **dict.fromkeys(("seed", "data_seed"), (0, _LARGEST_SEED)),
}
_LEVELS = ("debug", "info", "warning", "error", "critical", "passive")
# Field to the texts it takes, where its annotation takes any.
TEXTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("log_level", "log_level_replica"), _LEVELS),
    "dataloader_multiprocessing_context": ("fork", "spawn", "forkserver"),
    "ddp_backend": ("nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl"),
}
# Field to why it can't do what it says.
POWERLESS = {
    "debug": "a run ends at the first loss, gradient or weight that is not finite, and says in which batch",
    "label_smoothing_factor": "the losses of embeddings don't predict classes whose probabilities could be smoothed",
    "enable_jit_checkpoint": "Ctrl-C and SIGTERM save a checkpoint in any case, and --resume goes on from it",
    "save_on_each_node": "the first process alone writes, into a folder that all machines see",
    "train_sampling_strategy": "training.batch_sampler says how rows are drawn",
    "label_names": "the role of a column says whether it is the label",
    "include_for_metrics": "evaluators get the inputs that they need by themselves",
    "include_num_input_tokens_seen": "tokens of texts alone would be counted, and metrics.jsonl has tokens a second",
}
# Field to the value that says nothing: any other changes nothing either.
IDLE: dict[str, Any] = {
    **dict.fromkeys(("remove_unused_columns", "eval_do_concat_batches"), True),
    **dict.fromkeys(("log_on_each_node", "prediction_loss_only", "skip_memory_metrics"), True),
    **dict.fromkeys(("batch_eval_metrics", "eval_use_gather_object"), False),
    "log_level": "passive",
    "log_level_replica": "warning",
    "local_rank": -1,
    "length_column_name": "length",
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
    rates = training.get("learning_rate_mapping")
    for name, rate in rates.items() if isinstance(rates, Mapping) else ():
        if isinstance(rate, int | float) and not 0 <= rate < math.inf:
            faults.append(f"training.learning_rate_mapping.{name}: found {rate}, but it is a finite number, 0 or more.")
    for name, texts in TEXTS.items():
        found = training.get(name)
        if isinstance(found, str) and found not in texts:
            faults.append(
                f"training.{name}: found {found}, but it is one of {', '.join(texts)}.{did_you_mean(found, texts)}"
            )
    return faults


def check_powerless_fields(config: Config) -> list[str]:
    """Return the faults of fields that ask for what no run does; a run of before may have them, and is evaluated."""
    nothing: tuple[Any, ...] = (None, 0, False, "no", "random", "", [])
    given = {name: value for name in POWERLESS if (value := config.training.get(name)) not in nothing}
    return [
        f"training.{name}: found {value}, but it can do nothing here: {POWERLESS[name]}. Leave it out."
        for name, value in given.items()
    ]


def warn_of_idle_fields(config: Config) -> list[str]:
    """Return warnings of fields that change nothing: mmst does it in its own way, or nothing is pushed."""
    idle = [f"training.{name}" for name, none in IDLE.items() if config.training.get(name, none) != none]
    said = "mmst reads, measures and logs in its own way, so that nothing changes by it. Leave it out."
    warnings = [f"{', '.join(idle)}: {said}"] if idle else []
    given = [f"training.{name}" for name, value in config.training.items() if name.startswith("hub_") and value]
    if given and not config.training.get("push_to_hub"):
        warnings.append(f"{', '.join(given)}: nothing is pushed without training.push_to_hub=true.")
    return warnings


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
    least, largest = BOUNDS.get(name, (None, None))
    if (least is None or value >= least) and (largest is None or value <= largest):
        return None
    return f"{least:g} or more" if largest is None else f"between {least:g} and {int(largest)}"
