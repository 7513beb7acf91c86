"""What becomes of the inputs of a stream: piece by piece, in any order, and then in the order of the inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.found_sizes import BatchLimits
from mmst_cli.vectors.prepared_batches import Fault


@dataclass
class Encoded:
    """What became of consecutive inputs of a stream."""

    references: list[Any]
    vectors: torch.Tensor
    """Of those in `good`, float32 of shape (good, embedding dimension), on the model's device."""
    good: list[int]
    """Places among the references, ascending."""
    faults: dict[int, Fault]
    """By place, for those without a vector, ascending."""
    notes: list[Any]
    """One a reference: what reading it noted; None where it can't be read."""
    limits: BatchLimits = field(default_factory=dict)
    """What the process found of batch sizes, where another one asked it to encode."""


@dataclass(frozen=True)
class Piece:
    """What became of some inputs, by place in their window."""

    places: list[int]
    vectors: list[torch.Tensor]
    faults: dict[int, Fault]
    notes: dict[int, Any]


class Window:
    """Collects what becomes of the inputs of a window, in any order."""

    def __init__(self) -> None:
        self._references: dict[int, Any] = {}
        self._places: list[int] = []
        self._vectors: list[torch.Tensor] = []
        self._faults: dict[int, Fault] = {}
        self._notes: dict[int, Any] = {}

    def take(self, batch: Batch, pieces: Iterable[Piece]) -> None:
        """Take up a batch of it, and what became of that."""
        self._references.update(zip(batch.places, batch.references, strict=True))
        for piece in pieces:
            self._places += piece.places
            self._vectors += piece.vectors
            self._faults.update(piece.faults)
            self._notes.update(piece.notes)

    def close(self) -> Encoded:
        """Return all of it in the order of the references."""
        order = np.argsort(self._places)
        vectors = torch.cat(self._vectors) if self._vectors else torch.empty(0, 0)
        if not (np.diff(order) == 1).all():
            vectors = vectors[torch.from_numpy(order).to(vectors.device)]
        return Encoded(
            [self._references[place] for place in range(len(self._references))],
            vectors,
            [self._places[index] for index in order],
            dict(sorted(self._faults.items())),
            [self._notes.get(place) for place in range(len(self._references))],
        )
