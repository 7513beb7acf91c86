"""Batches of all processes, cut into one share a process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler, RandomSampler


class BatchShares(BatchSampler):  # type: ignore[misc]
    """Cuts each batch that is drawn for all processes into shares of one size, which accelerate deals out in turn.

    So several processes train on the batches that one process with the whole batch size trains on: all shares of a
    batch are of one dataset, and no input comes twice among them where the sampler sees to that. Of batches drawn apart
    neither would hold, and rows gathered across devices would be false negatives of each other.

    Rows of an epoch's last, smaller batch that can't be shared out evenly are left out: fewer than there are processes.

    Args:
        batches: the sampler, of batches of the whole size.
        shares: number of processes.
    """

    def __init__(self, batches: Any, shares: int) -> None:
        self.batches, self.shares = batches, shares
        # To accelerate: batches of any size, and always one for every process.
        self.batch_size: Any = None
        self.drop_last = True

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            size = len(batch) // self.shares
            if size:
                yield from (batch[share * size : (share + 1) * size] for share in range(self.shares))

    def __len__(self) -> int:
        return len(self.batches) * self.shares

    @property
    def sampler(self) -> Any:
        """The sampler of rows that accelerate replaces by a seeded one, else what it tells the epoch."""
        inner = getattr(self.batches, "sampler", None)
        return inner if isinstance(inner, RandomSampler) else self

    @sampler.setter
    def sampler(self, sampler: Any) -> None:
        self.batches.sampler = sampler

    def set_epoch(self, epoch: int) -> None:
        """Pass the epoch on to what draws the batches."""
        inner: Any = getattr(self.batches, "sampler", None)
        for drawing in (self.batches, inner):
            if hasattr(drawing, "set_epoch"):
                drawing.set_epoch(epoch)
