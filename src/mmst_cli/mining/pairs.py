"""Which documents are positives of which anchor, and how similar they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmst_cli.errors import ModelError
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, StoredVectors

AT_A_TIME = 8_192  # pairs whose vectors are in memory


@dataclass(frozen=True)
class Positives:
    """The documents that answer each anchor: those of all rows in which it stands.

    Attributes:
        of: anchor to its documents, each once, in the order of the rows.
        most: the largest number of rows that an anchor stands in.
    """

    of: Sequence[Numbers]
    most: int


def find_positives(anchor_of: Numbers, document_of: Numbers) -> Positives:
    """Return the positives of each anchor.

    Args:
        anchor_of: the anchor of each row, shape (rows,).
        document_of: the document of each row, shape (rows,).
    """
    found: list[dict[int, None]] = [{} for _ in range(int(anchor_of.max()) + 1)]
    for anchor, document in zip(anchor_of.tolist(), document_of.tolist(), strict=True):
        found[anchor][document] = None
    return Positives([np.array(list(one), dtype=np.int64) for one in found], int(np.bincount(anchor_of).max()))


def to_similarity(name: str) -> Callable[[FloatArray], FloatArray]:
    """Return what makes a model's similarity of inner products of vectors of length 1.

    Raises:
        ModelError: it is no function of them.
    """
    if name in ("cosine", "dot"):
        return lambda products: products
    if name == "euclidean":
        return lambda products: -np.sqrt(np.maximum(0, 2 - 2 * products), dtype=np.float32)
    raise ModelError(
        f"the model's similarity is {name}, and the nearest are searched by inner products. Mine with a model of"
        " cosine, dot or euclidean similarity."
    )


def inner_products(queries: StoredVectors, documents: StoredVectors, pairs: tuple[Numbers, Numbers]) -> FloatArray:
    """Return the inner product of each pair of (query, document) places, shape (pairs,)."""
    one, other = pairs
    found = np.empty(len(one), dtype=np.float32)
    for start in range(0, len(one), AT_A_TIME):
        some = slice(start, start + AT_A_TIME)
        found[some] = np.einsum("nd,nd->n", queries.take(one[some]), documents.take(other[some]))
    return found


def flat_pairs(positives: Positives) -> tuple[Numbers, Numbers]:
    """Return all (anchor, positive) pairs, anchor by anchor, shape (pairs,) both."""
    counts = [len(one) for one in positives.of]
    return np.repeat(np.arange(len(counts)), counts), np.concatenate(list(positives.of))
