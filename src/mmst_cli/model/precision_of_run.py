"""Where a run's precision comes from: its config, the environment it is begun in, or what it recorded.

The environment is settled into the ``training`` section once, when a command begins. From there on that section alone
says what precision a run has, to the trainer, the evaluators, mining and the record; ``mmst eval RUN``,
``mmst encode RUN`` and ``mmst mine --model RUN`` go by the record.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Config, Dtype
from mmst_cli.errors import ConfigError
from mmst_cli.model.determinism import make_deterministic
from mmst_cli.model.precision import Precision, Runtime, check_precision, declared_precision, default_device
from mmst_cli.runs import run_of_model
from mmst_cli.terminal import Terminal

MIXED_PRECISION, USE_CPU = "ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_CPU"
"""What `accelerate launch` sets, from its arguments or from accelerate's config file."""
_FIELDS = ("bf16", "fp16")  # of the trainer; the environment calls them the same


def with_environment(config: Config, terminal: Terminal) -> Config:
    """Return a config whose ``training`` also says what accelerate's environment does.

    Args:
        config: a config; what it says itself about precision stands.
        terminal: where to say what the environment adds.

    Raises:
        ConfigError: the environment asks for a precision that is unknown or can't be had here.
    """
    training = settled(config.training, os.environ)
    if training == config.training:
        return config
    added = [f"training.{name}={str(value).lower()}" for name, value in training.items() if name not in config.training]
    terminal.say(f"from the environment: {', '.join(added)}")
    return config.model_copy(update={"training": training})


def settled(training: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return ``training`` with what the environment adds to it.

    Raises:
        ConfigError: see :func:`with_environment`.
    """
    found = dict(training)
    if _asks_for_cpu(environment):
        found["use_cpu"] = True
    asked = environment.get(MIXED_PRECISION, "no").lower() or "no"
    if asked == "no" or found.get("bf16") or found.get("fp16"):
        return found
    if asked not in _FIELDS:
        raise ConfigError(f"{MIXED_PRECISION}: {asked}: there is no, bf16 and fp16. Set one of them, or unset it.")
    if found.get(asked) is not None:  # the file says false
        return found
    device = default_device(found)
    if asked == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"{MIXED_PRECISION}: fp16, but the device is {device.type}, and fp16 needs a GPU. Unset it, or write"
            " training.fp16=false."
        )
    found[asked] = True
    if device.type == "cpu":
        found["use_cpu"] = True  # bfloat16 on the CPU has to be meant; whoever sets the variable means it
    return found


def as_recorded(config: Config, terminal: Terminal, model: str | None = None) -> Config:
    """Return a config in the precision that its model was trained in, where that is a run's; else as with_environment.

    Args:
        config: what is to be measured; what it says itself about precision stands.
        terminal: where to say what was taken from elsewhere.
        model: another model than the config's, where that one runs.

    Raises:
        ConfigError: see :func:`with_environment`.
    """
    model = model or config.model.name_or_path
    recorded = recorded_config(model)
    if recorded is None:
        return with_environment(config, terminal)
    said = {name for name in _FIELDS if config.training.get(name) is not None}
    added = {name: True for name in _FIELDS if recorded.training.get(name)}
    if said or not added:
        return config
    terminal.say(f"precision: {', '.join(added)}, as {model} was trained")
    if recorded.training.get("use_cpu"):
        added.setdefault("use_cpu", True)
    return config.model_copy(update={"training": {**added, **config.training}})


def encoding_runtime(model: str, dtype: Dtype, terminal: Terminal) -> tuple[Runtime, Dtype]:
    """Return where and in which precision a model encodes, and what its weights are held in: as it was evaluated.

    A run's recorded precision that this machine lacks is left: vectors in float32 are what it approximates.

    Args:
        model: a model folder, or a hub id.
        dtype: what the weights are asked to be held in; auto is as the run has it.
        terminal: where to say what can't be had.

    Raises:
        ConfigError: the environment asks for what this machine lacks.
    """
    recorded = recorded_config(model)
    if recorded is None:
        training = settled({}, os.environ)
        device = default_device(training)
        check_precision(training, device)
        return Runtime(device, declared_precision(training)), dtype
    make_deterministic(recorded.training)
    # Where there is a GPU, a run of the CPU encodes on it, too.
    device = default_device({"use_cpu": _asks_for_cpu(os.environ)})
    runtime = Runtime(device, declared_precision(recorded.training))
    try:
        check_precision(recorded.training, device)
    except ConfigError:
        name = name_of(runtime.precision)
        terminal.warn(f"the run was trained in {name}, which can't be had on this {device.type}: encoding in float32.")
        runtime = replace(runtime, precision=Precision())
    # On a GPU, weights that were held in half precision were saved in it, and are read as they were saved.
    if dtype is Dtype.auto and device.type == "cpu" and recorded.model.dtype in (Dtype.bfloat16, Dtype.float16):
        dtype = recorded.model.dtype
    return runtime, dtype


def name_of(precision: Precision) -> str:
    """Return what accelerate calls a precision: no, bf16 or fp16."""
    return {None: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}[precision.autocast]


def _asks_for_cpu(environment: Mapping[str, str]) -> bool:
    return environment.get(USE_CPU, "").lower() in ("y", "yes", "t", "true", "on", "1")


def recorded_config(model: str) -> Config | None:
    """Return the config of the run that a model folder, or a run folder, is of; None of others."""
    run = run_of_model(model) or run_of_model(str(Path(model) / "model"))
    return load_config(run.config) if run is not None else None
