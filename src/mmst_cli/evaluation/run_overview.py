"""`mmst runs`: run folders side by side, read from what they recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from mmst_cli.errors import RunError, visible
from mmst_cli.evaluation.evaluation_results import EvaluationResult, load_evaluation
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.storage import expand_home, read_json
from mmst_cli.work import flatten

ROOT = Path("runs")
COLUMNS = ("run", "model", "data", "state", "steps", "time", "score", "95% interval", "before")
WORDS = 4
"""Columns of them that hold words; the others hold figures."""
_OF_THE_RUN = ("run_name", "output_dir")  # which differ anyway


@dataclass(frozen=True)
class Score:
    """What the saved model scored on one evaluator, at the full dimension."""

    evaluator: str
    metric: str
    value: float
    interval: list[float] | None
    """Of 95%."""
    before: float | None
    """What the untrained model scored."""


@dataclass(frozen=True)
class RunSummary:
    """A run in a line. None where it recorded nothing of it."""

    run: str
    model: str
    data: list[str]
    """Paths of its training sets."""
    state: str
    """done, failed (the saved model isn't the measured one), or unfinished."""
    steps: int
    """That were logged."""
    started: str | None
    """In ISO 8601."""
    seconds: float
    """In training, evaluations and saving included."""
    scores: list[Score]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def find_runs(named: Sequence[str]) -> list[RunFolder]:
    """Return the run folders that are named, those in folders that are named, or those under `runs/`, oldest first.

    Raises:
        RunError: there is none.
    """
    found = [run for name in named or [str(ROOT)] for run in _runs_at(name)]
    unique = list({run.path.resolve(): run for run in found}.values())
    return unique if named else sorted(unique, key=lambda run: read_json(run.environment).get("started") or "")


def _runs_at(name: str) -> list[RunFolder]:
    run = RunFolder(expand_home(name))
    if run.is_run():
        return [run]
    below = sorted(run.path.iterdir()) if run.path.is_dir() else []
    found = [RunFolder(path) for path in below if RunFolder(path).is_run()]
    if not found:
        raise RunError(f"{visible(name)}: no run, and no folder of runs. Train one with `mmst train CONFIG`.")
    return found


def summarise(run: RunFolder) -> RunSummary:
    """Return what a run recorded of itself."""
    config, lines = _config(run), run.metric_lines()
    state = "done" if run.model.is_dir() else "failed" if run.failed_model.is_dir() else "unfinished"
    return RunSummary(
        run=str(run.path),
        model=_model(config),
        data=[str(one.get("path")) for one in _mapping(config.get("datasets")).values() if one.get("use") == "train"],
        state=state,
        steps=max((line.get("step") or 0 for line in lines), default=0),
        started=read_json(run.environment).get("started"),
        seconds=sum(sum(_mapping(line.get("seconds")).values()) for line in lines),
        scores=_scores(run),
    )


def differing_keys(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """Return the dotted keys by which the configs of runs differ, with the value of each run; None where unset."""
    flat = [flatten(_config(run)) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one if key not in _OF_THE_RUN)
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {key: found for key, found in values.items() if any(value != found[0] for value in found)}


def _config(run: RunFolder) -> dict[str, Any]:
    try:
        return _mapping(yaml.safe_load(run.config.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _model(config: Mapping[str, Any]) -> str:
    model = _mapping(config.get("model"))
    routes = {name: route.get("name_or_path") for name, route in _mapping(model.get("routes")).items()}
    return ", ".join(f"{name}: {path}" for name, path in routes.items()) or str(model.get("name_or_path") or "")


def _scores(run: RunFolder) -> list[Score]:
    found = []
    for path in sorted(run.evaluations.glob("*.json")):
        if path.name.endswith((".before.json", ".ranges.json")):
            continue
        result = _result(path)
        if result is not None:
            before = _result(path.with_name(f"{path.stem}.before.json"))
            found.append(
                Score(
                    result.evaluator,
                    result.primary_metric,
                    result.primary(result.full),
                    list(result.full.interval) if result.full.interval else None,
                    before.primary(before.full) if before else None,
                )
            )
    return found


def _result(path: Path) -> EvaluationResult | None:
    try:
        return load_evaluation(path).result
    except RunError:  # none, or of another kind
        return None


def runs_table(summaries: Sequence[RunSummary]) -> Table:
    """Return the runs, a line for each of their scores."""
    table = Table(*COLUMNS)
    for row in (row for one in summaries for row in cells_of(one)):
        table.add_row(*row)
    return table


def cells_of(one: RunSummary) -> Iterator[tuple[str, ...]]:
    """Yield a row of cells for each score of a run, under :data:`COLUMNS`; the run itself stands in the first."""
    shown: Sequence[Score | None] = one.scores or [None]
    state = "" if one.state == "done" else one.state
    run = (one.run, one.model, ", ".join(one.data), state, f"{one.steps:,}", _in_words(one.seconds))
    for place, score in enumerate(shown):
        yield (*(("",) * len(run) if place else run), *_in_cells(score))


def compare_command(runs: Sequence[RunFolder]) -> str:
    """Return the command that compares the first two of several runs."""
    return f"mmst eval {quoted(runs[1].path)} --compare {quoted(runs[0].path)}"


def _in_cells(score: Score | None) -> tuple[str, str, str]:
    if score is None:
        return "-", "-", "-"
    interval = "-" if score.interval is None else f"{score.interval[0]:.3f}-{score.interval[1]:.3f}"
    before = "-" if score.before is None else f"{score.before:.4f}"
    return f"{score.evaluator} {score.metric} {score.value:.4f}", interval, before


def _in_words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def differences_table(runs: Sequence[RunFolder], differing: Mapping[str, Sequence[Any]]) -> Table:
    """Return the keys by which configs differ, a column a run."""
    table = Table("key", *(str(run.path) for run in runs), title="what differs", title_justify="left")
    for key, values in differing.items():
        table.add_row(key, *("-" if value is None else str(value) for value in values))
    return table
