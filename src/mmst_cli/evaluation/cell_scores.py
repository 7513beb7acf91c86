"""Scores at every embedding dimension and precision, from vectors that were encoded once.

What is scored is what would be shipped: at float32 the first values of the vectors, as
``encode(truncate_dim=...)`` gives them; at the other precisions those values normalised again and quantised,
as ``mmst encode --dim --precision`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from mmst_cli.vectors.quantise import quantise, ranges_of, shorten
from mmst_cli.vectors.ranking import Scorer

OVERSAMPLING = 4  # binary-rescored rescores this many times the k that the primary metric looks at

Similarity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class RetrievalVectors:
    """Encoded queries and documents, float32 of shapes (queries, full) and (documents, full)."""

    queries: torch.Tensor
    corpus: torch.Tensor
    similarity: Similarity

    @property
    def full(self) -> int:
        """The model's embedding dimension."""
        return int(self.corpus.shape[1])

    def shipped(self, vectors: torch.Tensor, dim: int) -> torch.Tensor:
        """Return vectors as ``mmst encode --dim`` writes them: truncated, and then normalised again."""
        return shorten(vectors, dim if dim < self.full else None)

    def ranges(self, dim: int) -> np.ndarray:
        """Return the range of each dimension over the corpus, shape (2, dim), for int8."""
        return ranges_of(self.shipped(self.corpus, dim))


def scorer(vectors: RetrievalVectors, dim: int, precision: str, k: int, ranges: np.ndarray | None = None) -> Scorer:
    """Return the function that scores queries against the corpus at one cell.

    Args:
        vectors: what was encoded.
        dim: embedding dimension.
        precision: one of ``mmst_cli.config.rules_evaluators.PRECISIONS``.
        k: how far down the primary metric looks; binary-rescored rescores ``OVERSAMPLING`` times as many.
        ranges: ranges for int8, shape (2, dim); those of the corpus if left out.
    """
    if precision == "float32":
        queries, corpus = vectors.queries[:, :dim], vectors.corpus[:, :dim]
        return lambda index: vectors.similarity(queries[index], corpus)
    queries, corpus = vectors.shipped(vectors.queries, dim), vectors.shipped(vectors.corpus, dim)
    if precision == "float16":
        rounded = corpus.half().float()
        return lambda index: vectors.similarity(queries[index], rounded)
    if precision == "int8":
        ranges = vectors.ranges(dim) if ranges is None else ranges
        scalar_queries, scalar_corpus = (_as_floats(quantise(v, "int8", ranges), v) for v in (queries, corpus))
        return lambda index: vectors.similarity(scalar_queries[index], scalar_corpus)
    signs, query_signs = _signs(corpus), _signs(queries)
    # The dot product of signs is the dimension less twice the Hamming distance: the same order, exactly.
    if precision == "binary":
        return lambda index: query_signs[index] @ signs.T
    bits = (corpus > 0).float()
    return lambda index: _rescored(query_signs[index] @ signs.T, queries[index] @ bits.T, OVERSAMPLING * k)


def _as_floats(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(like.device).float()


def _signs(vectors: torch.Tensor) -> torch.Tensor:
    return torch.where(vectors > 0, 1.0, -1.0)


def _rescored(coarse: torch.Tensor, fine: torch.Tensor, candidates: int) -> torch.Tensor:
    """Put the ``candidates`` best of ``coarse`` in front, in the order of ``fine``; the others keep theirs.

    Documents tied with the last candidate are candidates too, so that the choice doesn't depend on chance.
    """
    if candidates >= coarse.shape[1]:
        return fine
    threshold = coarse.topk(candidates, dim=1).values[:, -1:]
    coarse, fine = coarse.double(), fine.double()  # so that scaling keeps any two scores apart
    # Two bands that can't overlap: what is rescored lies at 1 and above, the rest below 0.
    span = 1 + fine.abs().amax(dim=1, keepdim=True)
    front = 2 + fine / span
    behind = coarse / (1 + coarse.abs().amax(dim=1, keepdim=True)) - 1
    return torch.where(coarse >= threshold, front, behind)
