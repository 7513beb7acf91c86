"""Batches of inputs that aren't read yet: cut from a stream, the order of which is brought back afterwards.

Inputs whose size is known without reading them, texts above all, are sorted by it within a window, as `model.encode`
sorts them, so that little of a batch is padding. The others are taken as they come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WINDOW_BYTES = 256 * 2**20  # of inputs that are sorted together
WINDOW_INPUTS = 20_000  # and their number, for inputs that weigh next to nothing
PIECE_INPUTS = 4_096  # shared out over the processes of a run at a time


class Reference(Protocol):
    """An input that isn't read yet; it can be pickled, so that another process reads it."""

    @property
    def size(self) -> int | None:
        """What sorts it, such as the characters of a text; None where only reading tells."""

    @property
    def weight(self) -> int:
        """What it holds in memory, in bytes."""

    def read(self) -> Any:
        """Return the input; raises whatever its decoder raises."""


@dataclass(frozen=True)
class Decoded:
    """An input that is read already."""

    value: Any

    @property
    def size(self) -> int:
        """As sentence-transformers estimates it."""
        from sentence_transformers.base.model import BaseModel

        return int(BaseModel._input_length(self.value))

    @property
    def weight(self) -> int:
        """What it weighs decoded."""
        return decoded_bytes(self.value)

    def read(self) -> Any:
        """Return it."""
        return self.value


@dataclass(frozen=True)
class Batch:
    """Inputs for one forward pass."""

    places: list[int]
    """Where each stands in its window."""
    references: list[Any]
    options: dict[str, Any]
    """What preprocessing is told: task and prompt."""
    ends_window: bool = False
    """Whether it is the last of its window."""

    def cut(self, size: int) -> list[Batch]:
        """Return it in pieces of ``size`` inputs."""
        return [
            Batch(self.places[start : start + size], self.references[start : start + size], self.options)
            for start in range(0, len(self.places), size)
        ]


class BatchSize(Protocol):
    """How many inputs go into a batch."""

    def inputs(self, *, sized: bool) -> int:
        """Return how many go into the first batch of a window; ``sized``: their size is known without reading them."""

    def begin(self, window: Sequence[Reference], options: dict[str, Any]) -> None:
        """Take note of a window that is going to be cut."""

    def next(self, *, sized: bool) -> int:
        """Return how many go into the next batch of it."""


def in_batches(
    references: Iterable[Reference], batch_size: BatchSize, options: dict[str, Any], mix: bool
) -> Iterator[Batch]:
    """Cut a stream into batches, reading nothing ahead of a window.

    Args:
        references: the inputs.
        batch_size: tells how many go into a batch, each time anew.
        options: see :class:`Batch`.
        mix: let long and short ones alternate in a batch instead of sorting them, as
            sentence-transformers does where batches aren't padded.
    """
    window: list[Reference] = []
    sizes: list[int | None] = []
    weight = before = full = 0
    for reference in references:
        size = reference.size
        if window and (size is None) is not (sizes[-1] is None):
            yield from _batches_of(window, sizes, batch_size, options, mix)
            window, sizes, weight, before = [], [], 0, 0
        full = full if window else batch_size.inputs(sized=size is not None)
        window.append(reference)
        sizes.append(size)
        weight += reference.weight
        if len(window) % full == 0:
            # The next batch is taken to be as heavy as this one.
            if size is None or 2 * weight - before > WINDOW_BYTES or len(window) >= WINDOW_INPUTS:
                yield from _batches_of(window, sizes, batch_size, options, mix)
                window, sizes, weight = [], [], 0
            before = weight
    if window:
        yield from _batches_of(window, sizes, batch_size, options, mix)


def _batches_of(
    window: list[Reference], sizes: list[int | None], batch_size: BatchSize, options: dict[str, Any], mix: bool
) -> Iterator[Batch]:
    order = np.arange(len(window))
    if sizes[0] is not None:
        order = np.argsort([-(size or 0) for size in sizes])
        order = _interleaved(order) if mix else order
    batch_size.begin(window, options)
    start = 0
    while start < len(window):
        end = start + batch_size.next(sized=sizes[0] is not None)
        places = order[start:end].tolist()
        yield Batch(places, [window[place] for place in places], options, end >= len(window))
        start = end


def _interleaved(order: Any) -> Any:
    from sentence_transformers.base.model import BaseModel

    return BaseModel._interleave_sorted_indices(order)


def in_pieces(references: Iterable[Reference]) -> Iterator[list[Reference]]:
    """Cut a stream into lists that are handed to other processes as a whole."""
    piece: list[Reference] = []
    weight = 0
    for reference in references:
        piece.append(reference)
        weight += reference.weight
        if len(piece) >= PIECE_INPUTS or weight > WINDOW_BYTES:
            yield piece
            piece, weight = [], 0
    if piece:
        yield piece


def mixes_sizes(model: SentenceTransformer) -> bool:
    """Say whether sentence-transformers lets long and short inputs alternate for this model."""
    return bool(model._can_flatten_inputs())


def decoded_bytes(item: Any) -> int:
    """Estimate what an input weighs in memory, in bytes."""
    if isinstance(item, Image.Image):
        return int(item.width * item.height * len(item.getbands()))
    if isinstance(item, np.ndarray):
        return int(item.nbytes)
    if isinstance(item, dict):
        return sum(decoded_bytes(value) for value in item.values())
    if isinstance(item, list | tuple):
        return sum(decoded_bytes(value) for value in item)
    return len(item) if isinstance(item, str | bytes) else 64
