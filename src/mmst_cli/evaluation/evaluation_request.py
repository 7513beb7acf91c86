"""What `mmst eval` is asked: which run, model or config to measure, how, and what to write. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmst_cli.config.load import read_tree, refuse_rows, with_model
from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.config.schema import Config
from mmst_cli.config.signatures import OWN_EVALUATOR
from mmst_cli.errors import ConfigError, RunError, did_you_mean, visible
from mmst_cli.output_claim import LOCK
from mmst_cli.runs import RunFolder, newest_run, run_of_model
from mmst_cli.storage import expand_home

DEFAULT_KEEP = 0.99  # share of the full dimension's score that a recommended size must be shown to keep
CONFIG_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class EvaluationOptions:
    """What `mmst eval` is asked for, besides the config.

    Attributes:
        dims: embedding dimensions to measure, instead of the config's.
        precisions: precisions to measure, instead of the config's.
        keep: share of the full dimension's score that a recommended size must be shown to keep.
        output: folder for the results as JSON, CSV and parquet.
        calibration: where int8 ranges come from, instead of the corpus: ranges or float32 vectors in a file.
        save_run: folder for TREC run files.
        compare: what to compare with: a run folder, a model or a saved result.
        report: where to write a page about it.
        overwrite: replace files that are there.
    """

    dims: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    keep: float = DEFAULT_KEEP
    output: Path | None = None
    calibration: Path | None = None
    save_run: Path | None = None
    compare: str | None = None
    report: Path | None = None
    overwrite: bool = False


def find_config(target: str | None, config_path: Path | None, overrides: Sequence[str]) -> Config:
    """Return the config that says what to measure, with the model that ``target`` names.

    Raises:
        RunError: the target is a run without a model, or there is no run.
        ConfigError: the target is a model and no config was given, or the config is wrong.
    """
    if target and Path(target).suffix in CONFIG_SUFFIXES:
        return load_checked_config(target, overrides, for_training=False)
    if target:
        refuse_rows(Path(target))
    run = RunFolder(expand_home(target)) if target else newest_run()
    for folder in (run.path, run.model):
        if not os.access(folder, os.R_OK | os.X_OK) and os.access(folder.parent, os.X_OK) and folder.is_dir():
            raise RunError(f"{visible(folder)} can't be read: permission denied.")
    if not run.is_run():
        if config_path is None and target and not target.startswith("builtin:") and not Path(target).exists():
            known = map(str, Path("runs").glob("*"))
            raise ConfigError(
                f"{visible(target)}: no such run.{did_you_mean(target, known)} If it is a model of the hub, add"
                " --config CONFIG to say what to evaluate it on."
            )
        if config_path is None and (run.path / LOCK).is_file():
            raise RunError(f"{run.path}: no run is there yet. A command is starting one, or was killed at that.")
        if config_path is None:
            raise ConfigError(
                f"--config: missing. {target} is a model, not a run: add --config CONFIG to say what to evaluate it on."
            )
        config = load_checked_config(config_path, overrides, for_training=False)
        return with_model(config, str(target))
    if not (run.model / "modules.json").is_file():
        raise RunError(f"{run.path}: this run has no model yet. {run.way_to_model()}")
    if config_path is None and not read_tree(run.config).get("evaluators") and not overrides:
        raise ConfigError(
            f"{run.path}: its config has no evaluators, so there is nothing to evaluate. Name one that has by --config,"
            " with a dataset for use: eval."
        )
    config = load_checked_config(config_path or run.config, overrides, for_training=False)
    return with_model(config, str(run.model))


def report_path(config: Config, output: Path | None) -> Path:
    """Return where ``--report`` writes: into ``--output``, else into the folder of the run that is evaluated.

    Raises:
        ConfigError: the target is no run, and no output is named.
    """
    if output is not None:
        return output / "report.html"
    run = run_of_model(config.model.name_or_path)
    if run is None:
        raise ConfigError("--report: name a folder for it by --output; only a run has a place of its own for it.")
    return run.report


def with_grid(config: Config, options: EvaluationOptions) -> Config:
    """Return the config with its evaluators measuring what the options ask for.

    Raises:
        ConfigError: a dimension isn't positive, a precision is unknown, or one comes twice.
    """
    dims, precisions = options.dims, options.precisions
    if dims and (min(dims) < 1 or len(set(dims)) != len(dims)):
        raise ConfigError(f"--dims: {','.join(map(str, dims))}: name different positive numbers.")
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown:
        known = ", ".join(PRECISIONS)
        raise ConfigError(f"--precisions: {unknown[0]}: there are {known}.{did_you_mean(unknown[0], PRECISIONS)}")
    if len(set(precisions)) != len(precisions):
        raise ConfigError(f"--precisions: {','.join(precisions)}: name each once.")
    if not 0 < options.keep <= 1:
        raise ConfigError(f"--keep: {options.keep}: a share between 0 and 1, such as 0.99.")
    if precisions and not any(evaluator.type == OWN_EVALUATOR for evaluator in config.evaluators.values()):
        raise ConfigError(f"--precisions: no evaluator of this config is a {OWN_EVALUATOR}.")
    changed = {
        name: evaluator.model_copy(
            update={
                "dims": list(dims) or evaluator.dims,
                "precisions": list(precisions) or evaluator.precisions if evaluator.type == OWN_EVALUATOR else [],
            }
        )
        for name, evaluator in config.evaluators.items()
    }
    return config.model_copy(update={"evaluators": changed})


def refuse_if_written(config: Config, options: EvaluationOptions) -> None:
    """Raise a RunError where a file that would be written is there, unless it may be replaced."""
    if options.overwrite:
        return
    # A run's own report is renewed whenever one is asked for.
    targets = {"--report": [options.report] if options.report and options.output else []}
    targets["--output"] = [options.output / f"{name}.json" for name in config.evaluators] if options.output else []
    targets["--save-run"] = (
        [options.save_run / f"{name}.qrels" for name in config.evaluators] if options.save_run else []
    )
    for option, paths in targets.items():
        for path in paths:
            if path.exists():
                raise RunError(f"{option}: {path} exists. Name another place, or add --overwrite.")
