"""What a run achieved: before and after at each dimension, and one sentence of verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from mmst_cli.evaluation.results import EvaluationResult

Z95 = 1.96  # half width of a 95% interval, in standard errors


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training run."""

    run: str
    steps: int
    seconds: float
    training_seconds: float
    before: dict[str, EvaluationResult]
    after: dict[str, EvaluationResult]
    verdict: str
    next_command: str
    dry_run: bool = False

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
        }


def comparison_rows(before: EvaluationResult | None, after: EvaluationResult) -> list[dict[str, Any]]:
    """Return a row per dimension: primary metric before and after, and its share of the full dimension's."""
    full = after.primary(after.full)
    rows = []
    for cell in after.cells:
        old = before.cell(cell.dim) if before else None
        score = after.primary(cell)
        rows.append(
            {
                "dim": cell.dim,
                "metric": after.primary_metric,
                "before": before.primary(old) if before and old else None,
                "after": score,
                "share_of_full": score / full if full else None,
                "bytes_per_vector": cell.bytes_per_vector,
            }
        )
    return rows


def comparison_table(before: EvaluationResult | None, after: EvaluationResult) -> Table:
    """Return the rows of :func:`comparison_rows` as a table."""
    table = Table(title=f"{after.evaluator}: {after.primary_metric}", title_justify="left")
    for heading in ("dimension", "before", "after", "of full", "bytes/vector"):
        table.add_column(heading, justify="right")
    for row in comparison_rows(before, after):
        table.add_row(
            str(row["dim"]),
            "-" if row["before"] is None else f"{row['before']:.4f}",
            f"{row['after']:.4f}",
            "-" if row["share_of_full"] is None else f"{row['share_of_full']:.1%}",
            str(row["bytes_per_vector"]),
        )
    return table


def verdict(before: Mapping[str, EvaluationResult], after: Mapping[str, EvaluationResult]) -> str:
    """Say in a sentence an evaluator whether the model became better, worse, or neither that shows."""
    return " ".join(_verdict(before.get(name), result) for name, result in after.items()) or "Nothing was evaluated."


def _verdict(before: EvaluationResult | None, after: EvaluationResult) -> str:
    new = after.primary(after.full)
    about = f"{after.evaluator}: {after.primary_metric} at {after.full.dim} dimensions"
    if before is None:
        return f"{about} is {new:.4f}."
    old = before.primary(before.full)
    figures = f"{old:.4f} before, {new:.4f} after"
    margin = paired_margin(before.primary_per_query, after.primary_per_query)
    if margin is None:
        word = "better" if new > old else "worse" if new < old else "no different"
        return f"{about} is {word} than before ({figures}); no interval is known for this metric."
    interval = f"{new - old:+.4f} ± {margin:.4f}, 95% interval over {len(after.primary_per_query)} queries"
    if abs(new - old) <= margin:
        return f"{about} is no different from before, as far as these queries show ({figures}: {interval})."
    return f"{about} is {'better' if new > old else 'worse'} than before ({figures}: {interval})."


def paired_margin(before: list[float], after: list[float]) -> float | None:
    """Return the half width of a normal 95% interval of the mean paired difference, or None."""
    if len(before) != len(after) or len(after) < 2:
        return None
    differences = [new - old for old, new in zip(before, after, strict=True)]
    return Z95 * stdev(differences, fmean(differences)) / math.sqrt(len(differences))
