"""Rows that are left out because a model finds their own positive a poor answer, and how they are told of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmst_cli.mining.mining_vectors import FloatArray, Numbers
from mmst_cli.rows.columns import ROW, RowSet
from mmst_cli.rows.shapes import drawn_from

SHOWN = 10  # rows that a sentence names


def are_doubtful(scores: FloatArray, least: float | None) -> npt.NDArray[np.bool_]:
    """Return which positives score below the least that is asked for; none where nothing is.

    Args:
        scores: of each row's positive, shape (rows,).
        least: `min_positive_score`.
    """
    found: npt.NDArray[np.bool_] = np.zeros(len(scores), dtype=bool) if least is None else scores < np.float32(least)
    return found


def source_rows(rows: RowSet, which: Numbers) -> list[int]:
    """Return the numbers that some drawn rows have in their source."""
    numbers = np.array(list(rows.source[ROW]), dtype=np.int64)
    return [int(number) for number in numbers[drawn_from(rows)[0][which]]]


def doubtful_in_words(rows: Sequence[int], least: float | None, listed: str) -> str | None:
    """Return in a sentence how many rows were left out, and which; None for none.

    Args:
        rows: their numbers in the source.
        least: `min_positive_score`.
        listed: where all are named, with a preposition.
    """
    if not len(rows):
        return None
    were = "1 row was" if len(rows) == 1 else f"{len(rows):,} rows were"
    more = f" and {len(rows) - SHOWN:,} more, all {listed}" if len(rows) > SHOWN else ""
    return (
        f"{were} left out as doubtful, for the positive scores below {least:g} (min_positive_score):"
        f" {', '.join(map(str, rows[:SHOWN]))}{more}."
    )
