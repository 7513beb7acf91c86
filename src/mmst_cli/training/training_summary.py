"""What a run achieved: before and after at each dimension, and one sentence of verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.terminal import Terminal

COLUMNS = ("before", "after", "95% interval", "of full", "bytes")


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training run; in other processes than the first it tells of the steps alone."""

    run: str
    steps: int
    seconds: float
    training_seconds: float
    before: dict[str, Evaluation] = field(default_factory=dict)
    after: dict[str, Evaluation] = field(default_factory=dict)
    verdict: str = ""
    next_command: str = ""
    dry_run: bool = False
    found: dict[str, int] = field(default_factory=dict)
    """What the config left to be found, by dotted key."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "run": self.run,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "training_seconds": round(self.training_seconds, 3),
            "evaluators": {name: comparison_rows(self.before.get(name), r) for name, r in self.after.items()},
            "verdict": self.verdict,
            "next": self.next_command,
            "found": self.found,
        }


def comparison_rows(before: Evaluation | None, after: Evaluation) -> list[dict[str, Any]]:
    """Return a row per cell: primary metric before and after, and its share of the full dimension's."""
    result = after.result
    full = result.primary(result.full)
    rows = []
    for cell in result.cells:
        old = before.result.cell(cell.dim, cell.precision) if before else None
        score = result.primary(cell)
        rows.append(
            {
                "dim": cell.dim,
                "precision": cell.precision,
                "metric": result.primary_metric,
                "before": before.result.primary(old) if before and old else None,
                "after": score,
                "interval": cell.interval,
                "share_of_full": score / full if full else None,
                "bytes_per_vector": cell.bytes_per_vector,
            }
        )
    return rows


def comparison_table(before: Evaluation | None, after: Evaluation) -> Table:
    """Return the rows of :func:`comparison_rows` as a table."""
    rows = comparison_rows(before, after)
    with_precision = {row["precision"] for row in rows} != {"float32"}
    title = f"{after.result.evaluator}: {after.result.primary_metric}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, title_style="bold")
    for heading in ("dim", *(["precision"] if with_precision else []), *COLUMNS):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [str(row["dim"]), *([row["precision"]] if with_precision else [])]
        cells.append("-" if row["before"] is None else f"{row['before']:.4f}")
        cells.append(f"{row['after']:.4f}")
        cells.append("-" if row["interval"] is None else "{:.3f}-{:.3f}".format(*row["interval"]))
        cells.append("-" if row["share_of_full"] is None else f"{row['share_of_full']:.1%}")
        table.add_row(*cells, str(row["bytes_per_vector"]))
    return table


def show_result(result: TrainingResult, run: RunFolder, terminal: Terminal) -> None:
    """Show a table an evaluator, the verdict, what to ship, and where everything is."""
    for name, evaluation in result.after.items():
        terminal.show(comparison_table(result.before.get(name), evaluation))
    terminal.show(result.verdict)
    for evaluation in result.after.values():
        if advice := evaluation.result.recommendation:
            terminal.show(f"{evaluation.result.evaluator}: {advice['sentence']}")
    terminal.show(f"report: {run.report}")
    terminal.show(f"model: {run.model} ({result.steps} steps, {result.seconds:.0f} s)")
    terminal.show(f"next: {result.next_command}")


def next_command(run: RunFolder, after: dict[str, Evaluation]) -> str:
    """Return the command that encodes a collection as recommended, or at the full dimension."""
    advice = [evaluation.result.recommendation for evaluation in after.values() if evaluation.result.recommendation]
    command = advice[0].get("command") if advice else None
    return command or f"mmst encode {quoted(run.path)} INPUT --output vectors"
