"""The negatives of a training set: row numbers, beside rows that stay where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmst_cli.config.schema import Fill
from mmst_cli.mining.mining_vectors import Numbers
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.filling import filled_lists, missing_places, put_mined
from mmst_cli.rows.shapes import add_negatives


@dataclass(frozen=True)
class Round:
    """What a round of mining changed.

    Attributes:
        epoch: at the beginning of which it was, from 0.
        changed, used: of the negatives that are trained on, how many are others than before, and how many there are.
        without: rows that got too few this time and keep what they had.
    """

    epoch: int
    changed: int
    used: int
    without: int

    @property
    def share(self) -> float:
        """Which share of the negatives changed."""
        return self.changed / max(1, self.used)


@dataclass(frozen=True)
class MinedSet:
    """The negatives of a set.

    Attributes:
        rows: the set as it is without them.
        kept: which of the rows got negatives, shape (kept,); the same in all rounds.
        negatives: the rows whose positives these are, shape (kept, negatives).
        doubtful: the rows that are left out for the score of their positive, shape (doubtful,).
        fills: whether they stand where lists have too few, and not in columns of their own.
        remark: what is said of rows that are left out; nothing where none is.
        rounds: the rounds by which they were renewed.
    """

    rows: RowSet
    kept: Numbers
    negatives: Numbers
    doubtful: Numbers
    fills: bool = False
    remark: str = ""
    rounds: tuple[Round, ...] = ()

    @property
    def is_used(self) -> bool:
        """Whether any of them stands in a row: of lists that are filled up none may lack one."""
        return not self.fills or bool(filled_lists(self.rows, Fill.mine))

    def with_negatives(self) -> RowSet:
        """Return the rows that got negatives, with these: in new columns, or where those of a list were missing."""
        rows = replace(self.rows, remarks=(*self.rows.remarks, *self._remarks()))
        if not self.fills:
            return add_negatives(rows, self.kept, self.negatives)
        return put_mined(rows, self.kept, self.negatives, self.doubtful)

    def renewed(self, epoch: int, kept: Numbers, negatives: Numbers) -> MinedSet:
        """Return the set with other negatives; a row that got none this time keeps its own.

        Args:
            epoch: at the beginning of which it is.
            kept: the rows that got negatives, shape (found,).
            negatives: the rows whose positives these are, shape (found, negatives).
        """
        found_for = np.full(len(self.rows), -1, dtype=np.int64)
        found_for[kept] = np.arange(len(kept))
        which = found_for[self.kept]
        new = self.negatives.copy()
        new[which >= 0] = negatives[which[which >= 0]]
        used = self._used()
        changed = int((used & ~(new[:, :, None] == self.negatives[:, None, :]).any(axis=2)).sum())
        done = Round(epoch, changed, int(used.sum()), int((which < 0).sum()))
        return replace(self, negatives=new, rounds=(*self.rounds, done))

    def _used(self) -> npt.NDArray[np.bool_]:
        """Return which of the negatives are trained on, shape (kept, negatives)."""
        if not self.fills:
            return np.ones(self.negatives.shape, dtype=bool)
        lists = filled_lists(self.rows, Fill.mine)
        missing = np.max([missing_places(self.rows, *listed).sum(axis=1) for listed in lists.items()], axis=0)
        found: npt.NDArray[np.bool_] = np.arange(self.negatives.shape[1])[None, :] < missing[self.kept, None]
        return found

    def _remarks(self) -> list[str]:
        told = [f"epoch {one.epoch + 1} ({one.share:.1%} changed)" for one in self.rounds]
        renewed = f"negatives renewed at the beginning of {', '.join(told)}" if told else ""
        return [remark for remark in (self.remark, renewed) if remark]
