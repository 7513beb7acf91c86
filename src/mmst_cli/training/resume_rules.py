"""What of a config may change when a run is gone on with, and what stands against it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError, first_line
from mmst_cli.model.adapter_folder import ADAPTER_CONFIG
from mmst_cli.whole_checkpoints import checkpoint_step

FIXED = (
    # Other weights, or others of them trained: the checkpoint's and the optimizer's don't belong to them.
    r"model\.(name_or_path|revision|dtype|pooling|normalize|dimension|routes|frozen|quantization|adapter(?!\.merge))",
    r"loss",
    r"prompts",
    # Other rows, or the same in another order: what was seen of an epoch is no longer known.
    r"datasets(?!\.)",
    r"seed",
    r"training\.(seed|data_seed|batch_sampler|multi_dataset_batch_sampler|train_sampling_strategy|dataloader_drop_last)",
    r"training\.(per_device_train_batch_size|gradient_accumulation_steps|auto_find_batch_size)",
    # Another optimizer, or other groups of parameters in it: its state is of no use.
    r"training\.(optim|optim_args|optim_target_modules|learning_rate_mapping|router_mapping|prompts)",
    r"training\.(fsdp|fsdp_config|deepspeed|parallelism_config|accelerator_config)",
    # The best score so far is of another measure.
    r"training\.(metric_for_best_model|greater_is_better)",
)
FIXED_OF_TRAINING_SETS = r"(use|layout|name|split|revision|max_rows|streaming|sql|weight|loss|prompts|mine|columns)"
# Changes how a loss is computed, not what it is.
FREE = r"(loss|datasets\.[^.]+\.loss)\.\d+\.args\.mini_batch_(size|num_tokens)"
SCHEDULE = r"training\.(learning_rate|lr_scheduler_type|lr_scheduler_kwargs|warmup_steps|warmup_ratio)"
MEASURED = {"reduce_lr_on_plateau", "greedy"}
"""Schedules whose rate comes of what was measured so far; that of all others is a function of the step."""


def changed_keys(begun: Path, config: Config) -> dict[str, tuple[Any, Any]]:
    """Return the dotted keys in which a config differs from the one of a run, with their values then and now.

    Args:
        begun: the run's own ``config.yaml``.
        config: what it is to be gone on with.

    Raises:
        RunError: it can't be read.
    """
    now: Any = OmegaConf.to_container(OmegaConf.create(config_to_yaml(config)))
    then = _begun_with(begun)
    order = [[name for name in tree.get("datasets") or {} if name in _training_sets(then, now)] for tree in (then, now)]
    moved = {"datasets": (order[0], order[1])} if _is_moved(*order) else {}
    return moved | dict(sorted(_differences(then, now)))


def check_steps(config: Config, steps: int, checkpoint: Path) -> None:
    """Check that a run has as many steps as were taken already.

    Raises:
        ConfigError: it has fewer.
    """
    if 0 < steps < (done := checkpoint_step(checkpoint)):
        key = "max_steps" if config.training.get("max_steps", -1) > 0 else "num_train_epochs"
        raise ConfigError(
            f"training.{key}: it makes {steps} steps, but {checkpoint} was saved at step {done}. Write that or more."
        )


def check_same_rows(before: Mapping[str, str], now: Mapping[str, str], training: Collection[str]) -> list[str]:
    """Return the sets that are only evaluated and have other rows than when the run was begun.

    Args:
        before: dataset to what named its rows by content then; nothing where that wasn't noted.
        now: the same of the rows there are.
        training: the sets that are trained on.

    Raises:
        ConfigError: one of those has other rows; one sentence a set.
    """
    changed = [name for name in now if before.get(name, now[name]) != now[name]]
    faults = [
        f"datasets.{name}: the run was begun with other rows: {_count(before[name])} then and {_count(now[name])} now"
        f"{', of other content or in another order' if _count(before[name]) == _count(now[name]) else ''}. What of an"
        " epoch was seen is no longer known: bring the rows back, or begin anew by --overwrite."
        for name in changed
        if name in training
    ]
    if faults:
        raise ConfigError(*faults)
    return changed


def check_resumable(changed: dict[str, tuple[Any, Any]], begun: Path, config: Config, checkpoint: Path) -> list[str]:
    """Return the changed keys whose new values are used from here on.

    Raises:
        ConfigError: a change that the state of the run doesn't allow; one sentence a key.
    """
    then = _begun_with(begun)
    training_sets = _training_sets(then, {"datasets": {k: v.model_dump() for k, v in config.datasets.items()}})
    schedules = {str(one.get("lr_scheduler_type")) for one in (then.get("training") or {}, config.training)}
    faults = [
        _fault(key, values, checkpoint)
        for key, values in changed.items()
        if _is_fixed(key, training_sets) or (re.fullmatch(SCHEDULE, key) and schedules & MEASURED)
    ]
    if faults:
        raise ConfigError(*faults)
    return list(changed)


def _begun_with(path: Path) -> dict[str, Any]:
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise RunError(f"--resume: {path} can't be read: {first_line(error)}. Begin anew by --overwrite.") from error
    return dict(found) if isinstance(found, dict) else {}


def _training_sets(*trees: Mapping[str, Any]) -> set[str]:
    datasets = [(name, section) for tree in trees for name, section in (tree.get("datasets") or {}).items()]
    return {name for name, section in datasets if str(section.get("use")) == "train"}


def _count(identity: str) -> str:
    return identity.partition(",")[0]


def _is_moved(then: list[str], now: list[str]) -> bool:
    return then != now and sorted(then) == sorted(now)


def _is_fixed(key: str, training_sets: set[str]) -> bool:
    if re.fullmatch(FREE, key):
        return False
    if any(re.match(rf"{pattern}(\.|$)", key) for pattern in FIXED):
        return True
    section, _, rest = key.removeprefix("datasets.").partition(".")
    if not key.startswith("datasets.") or section not in training_sets:
        return False
    return not rest or re.match(rf"{FIXED_OF_TRAINING_SETS}(\.|$)", rest) is not None


def _fault(key: str, values: tuple[Any, Any], checkpoint: Path) -> str:
    then, now = ("left out" if value is None else _short(value) for value in values)
    other = f" or start another run from these weights: model.name_or_path={checkpoint}, and another output_dir."
    if (checkpoint / ADAPTER_CONFIG).is_file():  # training begins with a whole model
        other = " or begin anew by --overwrite."
    change = f"the run was begun with {then}, and now it is {now}, which --resume can't change"
    return f"{key}: {change}. Write it as before,{other}"


def _short(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _differences(then: Any, now: Any, prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(now, dict) and isinstance(then, dict):
        if prefix.endswith(".columns.") and _is_moved(list(then), list(now)):  # negatives go by their place
            yield prefix.rstrip("."), (list(then), list(now))
        for key in {**then, **now}:
            yield from _differences(then.get(key), now.get(key), f"{prefix}{key}.")
    elif _are_layers(then) and _are_layers(now) and len(now) == len(then):
        for index, (before, after) in enumerate(zip(then, now, strict=True)):
            yield from _differences(before, after, f"{prefix}{index}.")
    elif now != then:
        yield prefix.rstrip("."), (then, now)


def _are_layers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
