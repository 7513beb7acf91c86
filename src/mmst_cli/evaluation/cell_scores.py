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
from sentence_transformers.util import cos_sim, dot_score, normalize_embeddings

from mmst_cli.vectors.quantise import OVERSAMPLING, int8_codes, ranges_of, shorten
from mmst_cli.vectors.rescoring import Rescoring
from mmst_cli.vectors.scoring import Scoring

Change = Callable[[torch.Tensor], torch.Tensor]
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

    def shortened_to(self, dim: int) -> int | None:
        """Return the ``--dim`` with which ``mmst encode`` writes vectors of ``dim`` dimensions, if it needs one."""
        return dim if dim < self.full else None

    def ranges(self, dim: int) -> np.ndarray:
        """Return the range of each dimension over the corpus, shape (2, dim), for int8."""
        return ranges_of(self.corpus, self.shortened_to(dim))

    def scoring(self, of_documents: Change, similarity: Similarity, of_queries: Change | None = None) -> Scoring:
        """Return scores of what is made of some documents and queries, of both the same if not said otherwise.

        The changes are given vectors as they were encoded, float32 of shape (n, full).
        """
        of_queries = of_queries or of_documents
        if similarity is cos_sim:  # whose vectors are normalised once, and not once for every product
            return self.scoring(_normalised(of_documents), dot_score, _normalised(of_queries))
        return Scoring(
            lambda places: of_queries(self.queries[places]),
            lambda places: of_documents(self.corpus[places]),
            similarity,
            (len(self.queries), len(self.corpus)),
            self.corpus.device,
        )


def cell_scoring(
    vectors: RetrievalVectors, dim: int, precision: str, k: int, ranges: np.ndarray | None = None
) -> Scoring | Rescoring:
    """Return how queries score against the corpus at one cell.

    Args:
        vectors: what was encoded.
        dim: embedding dimension.
        precision: one of ``mmst_cli.config.rules_evaluators.PRECISIONS``.
        k: how far down the primary metric looks; binary-rescored rescores ``OVERSAMPLING`` times as many.
        ranges: ranges for int8, shape (2, dim); those of the corpus if left out.
    """

    def shipped(some: torch.Tensor) -> torch.Tensor:
        return shorten(some, vectors.shortened_to(dim))

    if precision == "float32":
        return vectors.scoring(lambda some: some[:, :dim], vectors.similarity)
    if precision == "float16":
        return vectors.scoring(lambda some: shipped(some).half().float(), vectors.similarity, shipped)
    if precision == "int8":
        measured = vectors.ranges(dim) if ranges is None else ranges
        return vectors.scoring(lambda some: int8_codes(shipped(some), measured), vectors.similarity)
    # The dot product of signs is the dimension less twice the Hamming distance: the same order, exactly.
    coarse = vectors.scoring(lambda some: _signs(shipped(some)), dot_score)
    if precision == "binary":
        return coarse
    fine = vectors.scoring(lambda some: _bits(shipped(some)), dot_score, shipped)
    return Rescoring(coarse, fine, OVERSAMPLING * k)


def _normalised(change: Change) -> Change:
    return lambda some: normalize_embeddings(change(some))


def _bits(vectors: torch.Tensor) -> torch.Tensor:
    return torch.gt(vectors, 0, out=torch.empty_like(vectors))  # 1 and 0 in float32 at once: six times as fast


def _signs(vectors: torch.Tensor) -> torch.Tensor:
    return _bits(vectors).mul_(2).sub_(1)
