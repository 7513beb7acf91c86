"""What scoring found, in figures and words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.mining.doubtful_rows import doubtful_in_words, source_rows
from mmst_cli.mining.mining_vectors import FloatArray
from mmst_cli.rows.columns import RowSet
from mmst_cli.terminal import Terminal


@dataclass(frozen=True)
class ScoreFacts:
    """What a teacher made of rows.

    Attributes:
        rows: rows that were scored.
        kept: rows that were written.
        negatives: negatives of each row.
        scores: mean score of positives, of negatives, and of their differences, over the rows that are kept.
        inverted: rows that are kept of which a negative scores as high as the positive, or above.
        doubtful: rows, by their numbers in the source, that were left out for the score of their positive.
    """

    rows: int
    kept: int
    negatives: int
    scores: dict[str, float]
    inverted: int
    doubtful: list[int]


def facts_of(rows: RowSet, scores: FloatArray, doubtful: npt.NDArray[np.bool_]) -> ScoreFacts:
    """Return the figures of scores, shape (rows, 1 + negatives), and of rows left out, shape (rows,)."""
    positive, negatives = scores[~doubtful, :1], scores[~doubtful, 1:]
    means = {"positive": positive, "negative": negatives, "difference": positive - negatives}
    return ScoreFacts(
        rows=len(scores),
        kept=len(positive),
        negatives=negatives.shape[1],
        scores={name: round(float(np.mean(values, dtype=np.float64)), 6) for name, values in means.items()},
        inverted=int((negatives >= positive).any(axis=1).sum()),
        doubtful=source_rows(rows, np.flatnonzero(doubtful)),
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


def say_result(result: ScoringResult, least: float | None, terminal: Terminal) -> None:
    """Show what was found, where it is and what to write into a config."""
    facts = result.facts
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("rows, negatives of each", f"{facts.kept:,}, {facts.negatives}")
    for name, value in facts.scores.items():
        table.add_row(f"mean score: {name}", f"{value:.4f}")
    table.add_row("rows with a negative at or above the positive", f"{facts.inverted:,}")
    terminal.show(table)
    if sentence := doubtful_in_words(facts.doubtful, least, "in what --json prints"):
        terminal.warn(sentence)
    terminal.show(
        f"Wrote {facts.kept:,} rows with {1 + facts.negatives} scores each, in {result.column}, to {result.output} in"
        f" {result.seconds:.1f} s."
    )
    terminal.show(f"next, in a config for `mmst train` with DistillKLDivLoss or MarginMSELoss:\n{result.lines}")
