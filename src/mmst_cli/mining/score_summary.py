"""What scoring found, in figures and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.mining.doubtful_rows import doubtful_in_words, source_rows
from mmst_cli.mining.mining_vectors import FloatArray
from mmst_cli.mining.rows_written import RowsWritten, figures_table, mean_scores
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
    kept = scores[~doubtful]
    return ScoreFacts(
        rows=len(scores),
        kept=len(kept),
        negatives=kept.shape[1] - 1,
        scores=mean_scores(kept),
        inverted=int((kept[:, 1:] >= kept[:, :1]).any(axis=1).sum()),
        doubtful=source_rows(rows, np.flatnonzero(doubtful)),
    )


@dataclass(frozen=True)
class ScoringResult(RowsWritten):
    """What `mmst score` did, with the name of the new column."""

    column: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "column": self.column}


def say_result(result: ScoringResult, least: float | None, terminal: Terminal) -> None:
    """Show what was found, where it is and what to write into a config."""
    facts = result.facts
    figures = [
        ("rows, negatives of each", f"{facts.kept:,}, {facts.negatives}"),
        *((f"mean score: {name}", f"{value:.4f}") for name, value in facts.scores.items()),
        ("rows with a negative at or above the positive", f"{facts.inverted:,}"),
    ]
    terminal.show(figures_table(figures))
    if sentence := doubtful_in_words(facts.doubtful, least, "in what --json prints"):
        terminal.warn(sentence)
    terminal.show(
        f"Wrote {facts.kept:,} rows with {1 + facts.negatives} scores each, in {result.column}, to {result.output} in"
        f" {result.seconds:.1f} s."
    )
    terminal.show(f"next, in a config for `mmst train` with DistillKLDivLoss or MarginMSELoss:\n{result.next_step}")
