"""How many inputs go into a batch: a number that was asked for, or what the memory of the device takes."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from mmst_cli.model import device_memory
from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.fitting_batches import SEEN_TO_FIT, fitting_size
from mmst_cli.vectors.found_sizes import DEFAULT, BatchLimits, FoundSize
from mmst_cli.vectors.prepared_batches import Preparation, Prepared

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def choose_sizes(
    model: SentenceTransformer,
    asked: int | None,
    prepare: Preparation,
    forward: Callable[[Prepared], object],
    say: Callable[[str], None],
    limits: BatchLimits | None,
) -> AskedSize | FoundSize:
    """Return what tells how many inputs go into a batch.

    Args:
        model: whose batches they are.
        asked: how many were asked for; None finds them by the memory of the device, where that is measured.
        prepare: what reads and preprocesses batches.
        forward: runs what was prepared through the model.
        say: takes the sentence about what was found.
        limits: what was found before.
    """
    memory = None if asked is not None else device_memory.memory_of(model.device)
    if memory is None:
        return AskedSize(model, asked or DEFAULT)
    return FoundSize(model, memory, prepare, forward, say, limits or {})


class AskedSize:
    """As many as were asked for, or as were seen to fit."""

    def __init__(self, model: SentenceTransformer, asked: int) -> None:
        self._model, self._asked = model, asked

    def inputs(self, *, sized: bool) -> int:
        """See :class:`BatchSize`."""
        return fitting_size(self._model, self._asked)

    def begin(self, window: Sequence[Any], options: dict[str, Any]) -> None:
        """See :class:`BatchSize`; all windows are alike."""

    def next(self, *, sized: bool) -> int:
        """See :class:`BatchSize`."""
        return fitting_size(self._model, self._asked)

    def fitting(self) -> MutableMapping[Any, int]:
        """Return what takes the size that fits, where one doesn't: it holds for all batches of the model."""
        return SEEN_TO_FIT

    def note(self, batch: Batch, prepared: Prepared | None, fitted: int | None) -> None:
        """Take no note of a batch."""

    def record(self) -> BatchLimits:
        """Return nothing, for nothing was looked for."""
        return {}

    def take(self, found: Sequence[BatchLimits]) -> None:
        """Take nothing, for nothing was looked for."""
