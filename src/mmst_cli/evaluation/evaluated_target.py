"""What `mmst eval` is asked to measure: a run, a model or a config. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.runs import RunFolder, newest_run

CONFIG_SUFFIXES = (".yaml", ".yml")


def find_config(target: str | None, config_path: Path | None, overrides: Sequence[str]) -> Config:
    """Return the config that says what to measure, with the model that ``target`` names.

    Raises:
        RunError: the target is a run without a model, or there is no run.
        ConfigError: the target is a model and no config was given, or the config is wrong.
    """
    if target and Path(target).suffix in CONFIG_SUFFIXES:
        return load_checked_config(target, overrides, for_training=False)
    run = RunFolder(Path(target)) if target else newest_run()
    if not run.is_run():
        if config_path is None:
            raise ConfigError(
                f"--config: missing. {target} is a model, not a run: add --config CONFIG to say what to evaluate it on."
            )
        config = load_checked_config(config_path, overrides, for_training=False)
        return replace(config, model=replace(config.model, name_or_path=str(target), revision=None))
    if not (run.model / "modules.json").is_file():
        raise RunError(f"{run.path}: this run has no model yet. Finish it with `mmst train {run.config} --resume`.")
    config = load_checked_config(config_path or run.config, overrides, for_training=False)
    return replace(config, model=replace(config.model, name_or_path=str(run.model), revision=None))
