"""What scoring found, in figures and words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.mining.mining_vectors import FloatArray
from mmst_cli.terminal import Terminal


@dataclass(frozen=True)
class ScoreFacts:
    """What a teacher made of rows.

    Attributes:
        rows: rows that were scored.
        negatives: negatives of each row.
        scores: mean score of positives, of negatives, and of their differences.
        inverted: rows of which a negative scores as high as the positive, or above.
    """

    rows: int
    negatives: int
    scores: dict[str, float]
    inverted: int


def facts_of(scores: FloatArray) -> ScoreFacts:
    """Return the figures of scores, shape (rows, 1 + negatives)."""
    positive, negatives = scores[:, :1], scores[:, 1:]
    means = {"positive": positive, "negative": negatives, "difference": positive - negatives}
    return ScoreFacts(
        rows=len(scores),
        negatives=negatives.shape[1],
        scores={name: round(float(np.mean(values, dtype=np.float64)), 6) for name, values in means.items()},
        inverted=int((negatives >= positive).any(axis=1).sum()),
    )


@dataclass(frozen=True)
class ScoringResult:
    """What `mmst score` did."""

    output: Path
    column: str
    facts: ScoreFacts
    seconds: float
    lines: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "output": str(self.output),
            "column": self.column,
            **asdict(self.facts),
            "seconds": round(self.seconds, 3),
            "next": self.lines,
        }


def say_result(result: ScoringResult, terminal: Terminal) -> None:
    """Show what was found, where it is and what to write into a config."""
    facts = result.facts
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows, negatives of each", f"{facts.rows:,}, {facts.negatives}")
    for name, value in facts.scores.items():
        table.add_row(f"mean score: {name}", f"{value:.4f}")
    table.add_row("rows with a negative at or above the positive", f"{facts.inverted:,}")
    terminal.show(table)
    terminal.show(
        f"Wrote {facts.rows:,} rows with {1 + facts.negatives} scores each, in {result.column}, to {result.output} in"
        f" {result.seconds:.1f} s."
    )
    terminal.show(f"next, in a config for `mmst train` with DistillKLDivLoss or MarginMSELoss:\n{result.lines}")
