"""The nearest vectors of a collection, exactly: it is read piece by piece, and no more than a piece is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from mmst_cli.searching.searched_vectors import RESCORED, SearchedVectors
from mmst_cli.terminal import Progress
from mmst_cli.vectors.quantise import OVERSAMPLING

SCORES = 2**22  # scores held at a time

Score = Callable[[slice, torch.Tensor], torch.Tensor]
"""From some of the queries, and vectors, to scores of shape (queries, vectors)."""
Hit = tuple[str, float]
"""Id and score."""


def passes_over(searched: SearchedVectors) -> int:
    """Return how often the collection is read."""
    return 2 if searched.precision == RESCORED else 1


def search_exactly(searched: SearchedVectors, queries: torch.Tensor, k: int, progress: Progress) -> list[list[Hit]]:
    """Return the ``k`` best of each query, or all there are: best first, equal scores in the order of their ids.

    Args:
        searched: the collection.
        queries: what its `prepare` gave, shape (queries, dim).
        k: how many.
        progress: counts vectors, in each pass.
    """

    def score(rows: slice, vectors: torch.Tensor) -> torch.Tensor:
        return searched.score(queries[rows], vectors)

    if searched.precision != RESCORED:
        return _search(searched, len(queries), k, score, progress)
    least = _score_of_last(searched, queries, OVERSAMPLING * k, progress)

    def rescore(rows: slice, vectors: torch.Tensor) -> torch.Tensor:
        # What is tied with the last candidate is one, too, so that the choice doesn't depend on chance.
        chosen = searched.agreement(queries[rows], vectors) >= least[rows, None]
        return torch.where(chosen, score(rows, vectors), -torch.inf)

    return _search(searched, len(queries), k, rescore, progress)


def _search(searched: SearchedVectors, count: int, k: int, score: Score, progress: Progress) -> list[list[Hit]]:
    scores = np.full((count, k), -np.inf, dtype=np.float32)
    ids = np.full((count, k), "", dtype=object)
    for piece in searched.pieces():
        for rows in _blocks(count, len(piece.ids)):
            found, places = best_of_piece(score(rows, piece.vectors), piece.ids, k)
            both = np.concatenate([scores[rows], found.numpy()], axis=1)
            scores[rows], ids[rows] = _best(both, np.concatenate([ids[rows], piece.ids[places.numpy()]], axis=1), k)
        progress.advance(len(piece.ids))
    return [
        [(str(name), float(value)) for name, value in zip(*found, strict=True) if value > -np.inf]
        for found in zip(ids, scores, strict=True)
    ]


def _score_of_last(searched: SearchedVectors, queries: torch.Tensor, count: int, progress: Progress) -> torch.Tensor:
    """Return the agreement of each query with the ``count``-th that agrees most, -inf if there are no more."""
    best = torch.full((len(queries), count), -torch.inf)
    for piece in searched.pieces():
        for rows in _blocks(len(queries), len(piece.ids)):
            found = searched.agreement(queries[rows], piece.vectors)
            found = found.topk(min(count, found.shape[1]), dim=1).values
            best[rows] = torch.cat([best[rows], found], dim=1).topk(count, dim=1).values
        progress.advance(len(piece.ids))
    return best[:, -1]


def _blocks(queries: int, vectors: int) -> Iterator[slice]:
    step = max(1, SCORES // vectors)
    return (slice(first, first + step) for first in range(0, queries, step))


def best_of_piece(scores: torch.Tensor, ids: np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` largest scores of each row and their places, in any order, both of shape (rows, k) or less.

    Of those that equal the last one, those are taken whose ids come first.
    """
    k = min(k, scores.shape[1])
    found, places = scores.topk(k, dim=1)
    last = found[:, -1:]
    tied = (scores >= last).sum(dim=1) > k
    if tied.any():
        by_id = torch.from_numpy(np.argsort(ids, kind="stable"))
        some, last = scores[tied][:, by_id], last[tied]
        above, level = some > last, some == last
        taken = above | (level & (level.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True)))
        places[tied] = by_id[taken.nonzero()[:, 1]].reshape(-1, k)
    return scores.gather(1, places), places


def _best(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` best of each row by score, equal ones by id."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    for row in np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1)):
        pairs = list(zip((-scores[row]).tolist(), ids[row].tolist(), strict=True))
        order[row] = sorted(range(len(pairs)), key=pairs.__getitem__)
    order = order[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(ids, order, axis=1)
