"""Where a run starts: in an empty folder, over an old run, or at the last whole checkpoint of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.runs import RunFolder, checkpoint_step
from mmst_cli.terminal import Terminal


def find_start(
    run: RunFolder, config: Config, terminal: Terminal, *, resume: bool, overwrite: bool, dry_run: bool
) -> Path | None:
    """Return the checkpoint to start from, or None to start anew. Nothing is written."""
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other.")
    if overwrite:
        run.refuse_to_clear()
        return None
    if not resume:
        if not dry_run:
            run.refuse_if_taken()
        return None
    if not run.is_run():
        raise RunError(f"--resume: there is no run in {run.path}. Leave --resume out to start one.")
    whole = run.checkpoints()
    if not whole:
        raise RunError(f"--resume: no whole checkpoint in {run.path}. Start again by --overwrite.")
    _warn_of_changes(run, config, terminal)
    return whole[-1]


def take_up(run: RunFolder, checkpoint: Path, terminal: Terminal) -> None:
    """Bring a run folder to the state of a checkpoint, dropping what a killed process left behind it."""
    for path in run.drop_broken_checkpoints():
        terminal.warn(f"{path.name} was only half written and was removed.")
    run.forget_metrics_after(checkpoint_step(checkpoint))
    terminal.say(f"resuming from {checkpoint}")


def _warn_of_changes(run: RunFolder, config: Config, terminal: Terminal) -> None:
    """Name the keys in which a resumed run's config differs from the one it was begun with."""
    now: Any = OmegaConf.to_container(OmegaConf.create(config_to_yaml(config)))
    then: Any = OmegaConf.to_container(OmegaConf.load(run.config))
    changed = sorted(_differences(now, then))
    if changed:
        terminal.warn(f"the run was begun with other values of {', '.join(changed)}; the new ones are used from here.")


def _differences(now: Any, then: Any, prefix: str = "") -> list[str]:
    if isinstance(now, dict) and isinstance(then, dict):
        keys = [*now, *(key for key in then if key not in now)]
        return [d for key in keys for d in _differences(now.get(key), then.get(key), f"{prefix}{key}.")]
    return [] if now == then else [prefix.rstrip(".")]
