"""The first stage of a Ray Data pipeline: inputs named, cut into batches and parts as one process does it, unread.

It needs no torch, so that its process begins at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from mmst_cli.encoding.ray_blocks import pack, readers_of
from mmst_cli.errors import MmstError
from mmst_cli.inputs.items import Source, in_parts, items_of
from mmst_cli.inputs.opening import Opening
from mmst_cli.vectors.batches import Batch, Reference, in_batches

BLOCK_INPUTS = (256, 4096)  # of texts, in the first blocks and at most; of other inputs a block is a batch
GROWS = 4  # blocks after which blocks double, so that all workers soon have something, and later little between them
BLOCK_BYTES = 8 * 2**20  # of texts


@dataclass(frozen=True)
class Walk:
    """How inputs are cut into what is encoded together."""

    opening: Opening
    done: int
    """How many inputs are passed over, from the first."""
    rows_per_part: int
    batch_size: int
    options: dict[str, Any]
    """What preprocessing is told: task and prompt."""
    mix: bool
    """See :func:`in_batches`."""

    def __call__(self) -> Iterator[pa.Table]:
        """Yield the blocks, each of a list of batches; the last may be of what can't be gone on with."""
        os.chdir(self.opening.folder)
        number, readers = 0, []
        try:
            sources = self.opening.sources()
            readers = readers_of(sources)
            for batches in _in_blocks(self._batches(sources)):
                yield pack(number, batches, readers)
                number += 1
        except MmstError as error:
            yield pack(number, error)

    def _batches(self, sources: list[Source]) -> Iterator[Batch]:
        for part in in_parts(islice(items_of(sources), self.done, None), self.rows_per_part):
            yield from in_batches(part, _Fixed(self.batch_size), self.options, self.mix)


@dataclass(frozen=True)
class _Fixed:
    """As many inputs in every batch; see :class:`BatchSize`."""

    count: int

    def inputs(self, *, sized: bool) -> int:
        return self.count

    def begin(self, window: Sequence[Reference], options: dict[str, Any]) -> None:
        pass

    def next(self, *, sized: bool) -> int:
        return self.count


def _in_blocks(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    block: list[Batch] = []
    inputs = weight = yielded = 0
    for batch in batches:
        block.append(batch)
        inputs += len(batch.references)
        weight += sum(reference.weight for reference in batch.references)
        first, most = BLOCK_INPUTS
        full = inputs >= min(most, first << min(yielded // GROWS, 16)) or weight >= BLOCK_BYTES
        if full or batch.references[0].size is None:
            yield block
            block, inputs, weight = [], 0, 0
            yielded += 1
    if block:
        yield block


class WalkedInputs(Datasource):  # type: ignore[misc]
    """A walk as Ray Data reads it: one task, whose blocks go on as they come."""

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self._walk = walk

    def get_name(self) -> str:
        """Return what the stage is called in Ray's records."""
        return "Inputs"

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: only walking tells."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """Return the task."""
        return [ReadTask(self._walk, BlockMetadata(None, None, None, None))]
