"""Scores of queries against documents, a tile at a time: never more of either side, or of scores, than a tile is held.

A tile is what some queries score against some consecutive documents. What the vectors of its documents are compared
as, such as normalised or quantised ones, is made of them when their tile is due, so that no second copy of a
corpus is ever made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch

from mmst_cli.vectors.nearest import best_of_tiles

Places: TypeAlias = slice | torch.Tensor
"""Which queries or documents: consecutive ones, or by their indices, shape (n,), on the device of the vectors."""

QUERIES = 1024  # of a tile at most
DOCUMENTS = 2**13  # of a tile at most, for the sake of what is made of their vectors
SCORES = {"cpu": 2**20}  # of a tile: on a processor it has to stay in the caches
SCORES_ELSEWHERE = 2**23


@dataclass(frozen=True)
class Scoring:
    """How queries score against documents.

    Attributes:
        queries: gives what ``compare`` takes of some queries.
        documents: gives what ``compare`` takes of some documents.
        compare: gives the scores of the two, shape (queries, documents).
        counts: how many queries and documents there are.
        device: where the scores are computed.
    """

    queries: Callable[[Places], Any]
    documents: Callable[[Places], Any]
    compare: Callable[[Any, Any], torch.Tensor]
    counts: tuple[int, int]
    device: torch.device

    def parts(self) -> Iterator[slice]:
        """Yield the queries of one row of tiles after the other."""
        count = self.counts[0]
        return (slice(first, min(first + QUERIES, count)) for first in range(0, count, QUERIES))

    def width(self, queries: slice) -> int:
        """Return how many documents a tile of these queries has."""
        scores = SCORES.get(self.device.type, SCORES_ELSEWHERE)
        width: int = min(self.counts[1], DOCUMENTS, max(1, scores // (queries.stop - queries.start)))
        return width

    def tiles(self, queries: slice, width: int | None = None) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the first document of each tile and its scores, shape (queries, documents).

        All are computed in the same shape, for matrix products of other shapes may round otherwise: so equal vectors
        get equal scores, wherever they stand.
        """
        asked, width = self.queries(queries), min(width or self.width(queries), self.counts[1])
        for first in range(0, self.counts[1], width):
            begin = min(first, self.counts[1] - width)
            yield first, self.compare(asked, self.documents(slice(begin, begin + width)))[:, first - begin :]

    def of_pairs(self, queries: slice, row: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
        """Return the scores of some pairs, shape (pairs,), as they stand in the tiles.

        Args:
            queries: the queries of a tile.
            row: of each pair, the place of its query among these.
            document: of each pair, its document.
        """
        asked, width = self.queries(queries), self.width(queries)
        distinct, place = torch.unique(document, return_inverse=True)
        found = []
        for first in range(0, len(distinct), width):
            some = distinct[first : first + width]
            tile = self.compare(asked, self.documents(torch.cat([some, some[:1].expand(width - len(some))])))
            inside = (place >= first) & (place < first + width)
            found.append(torch.where(inside, tile[row, (place - first).clamp(0, width - 1)], 0))
        return torch.stack(found).sum(dim=0)

    def among(self, documents: torch.Tensor) -> Scoring:
        """Return the scoring of some documents, by their indices, shape (n,), in that order."""
        return replace(
            self, documents=lambda places: self.documents(documents[places]), counts=(self.counts[0], len(documents))
        )

    def best(self, queries: slice, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ``k`` largest scores of some queries and the documents they are of, both (queries, k).

        Best first, equal ones in the order of the documents; fewer if there are fewer documents.
        """
        return best_of_tiles(self.tiles(queries, DOCUMENTS), k)
