"""The nearest vectors by inner product: exactly, in pieces of bounded size, or through an index of another library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mmst_cli.errors import ConfigError

QUERIES, DOCUMENTS = 1024, 32_768  # vectors of either side at a time: 128 MB of scores

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Scores and places, both of shape (queries, k)."""

Search = Callable[[Any], Found]


class Vectors(Protocol):
    """Vectors of shape (count, dimension) that are read slice by slice: an array, a memory map, a tensor."""

    @property
    def shape(self) -> Any:
        """Count and dimension."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return consecutive vectors."""


def nearest(queries: Vectors, corpus: Vectors, k: int, *, index: str = "exact") -> Found:
    """Return the ``k`` vectors of a corpus with the largest inner product with each query.

    Args:
        queries: float32, shape (queries, dimension); an array, a memory map or a tensor.
        corpus: float32, shape (documents, dimension), of the same kind. Tensors are searched on their device.
        k: how many; all of the corpus if it has fewer.
        index: exact (here, in pieces), or faiss (a flat index, exact as well).

    Returns:
        Scores, float32, and places in the corpus, int64, both of shape (queries, k): best first, equal scores by
        place. Where an index finds fewer, the score is -inf and the place -1.

    Raises:
        ConfigError: the package of an index is missing.
    """
    k = min(k, corpus.shape[0])
    count = queries.shape[0]
    scores = np.full((count, k), -np.inf, dtype=np.float32)
    places = np.full((count, k), -1, dtype=np.int64)
    if not k or not count:
        return scores, places
    search = {"exact": _exact, "faiss": _faiss}[index](corpus, k)
    for start in range(0, count, QUERIES):
        rows = slice(start, start + QUERIES)
        scores[rows], places[rows] = search(queries[rows])
    return scores, places


def check_index(index: str) -> None:
    """Check that the package of an index is installed.

    Raises:
        ConfigError: it isn't.
    """
    from importlib.util import find_spec

    if index != "exact" and find_spec(index) is None:
        raise ConfigError(f"index: {index}: the package is missing. `pip install {index}-cpu`, or take index exact.")


def _pieces(corpus: Vectors) -> Iterator[tuple[int, Any]]:
    for start in range(0, corpus.shape[0], DOCUMENTS):
        yield start, corpus[start : start + DOCUMENTS]


def _tensor(vectors: Any) -> torch.Tensor:
    if isinstance(vectors, torch.Tensor):
        return vectors.float()
    return torch.from_numpy(np.array(vectors, dtype=np.float32))  # a copy: a memory map can't be written to


def _array(vectors: Any) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(_tensor(vectors).cpu().numpy())


def _exact(corpus: Vectors, k: int) -> Search:
    def search(queries: Any) -> Found:
        wanted = _tensor(queries)
        tiles = ((start, wanted @ _tensor(piece).to(wanted.device).T) for start, piece in _pieces(corpus))
        scores, places = best_of_tiles(tiles, k)
        return scores.cpu().numpy(), places.cpu().numpy()

    return search


def best_of_tiles(tiles: Iterable[tuple[int, torch.Tensor]], k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest scores of each row of tiles and their places, as :func:`best_of_each` does of one tile.

    Args:
        tiles: the place of the first column of each, ascending, and scores of shape (rows, columns).
        k: how many.
    """
    scores, places = torch.empty(0), torch.empty(0)
    for first, tile in tiles:
        some, where = best_of_each(tile, k)
        if first:
            # Those found before come first, so that equal scores stay in the order of their places.
            some, chosen = best_of_each(torch.cat([scores, some], dim=1), k)
            where = torch.cat([places, where + first], dim=1).gather(1, chosen)
        scores, places = some, where
    return scores, places


def best_of_each(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest scores of each row and their places, both of shape (rows, k), or fewer if there are.

    Best first; equal ones stand in the order of their places, also where the ``k``-th is tied with the next.
    """
    k = min(k, scores.shape[1])
    found, where = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    # topk takes any of those that equal the last one; sorting such rows is slow and rarely needed.
    tied = found[:, k - 1] == found[:, -1] if found.shape[1] > k else torch.zeros(len(found), dtype=torch.bool)
    found, where = found[:, :k], where[:, :k]
    if tied.any():
        ordered, order = torch.sort(scores[tied], dim=1, descending=True, stable=True)
        found[tied], where[tied] = ordered[:, :k], order[:, :k]
    where, by_place = torch.sort(where, dim=1)
    found, by_score = torch.sort(found.gather(1, by_place), dim=1, descending=True, stable=True)
    return found, where.gather(1, by_score)


def _faiss(corpus: Vectors, k: int) -> Search:
    check_index("faiss")
    import faiss

    index = faiss.IndexFlatIP(int(corpus.shape[1]))
    for _, piece in _pieces(corpus):
        index.add(_array(piece))
    return lambda queries: _ordered(*index.search(_array(queries), k))


def _ordered(scores: Any, places: Any) -> Found:
    """Return rows sorted by score, equal ones by place."""
    order = np.lexsort((places, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)
