"""Which cells hold the same stored content, told for all rows without decoding any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xxhash

from mmst_cli.checking.sets import CheckedSet
from mmst_cli.rows.row_keys import column_keys

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Contents:
    """The different contents in all cells, numbered by where they come first."""

    of: dict[tuple[int, int], Numbers]
    """Set and column to the content of each row."""
    first: Numbers
    """Content to the set, column and row where it comes first, shape (contents, 3)."""
    digest: str
    """Names what all cells hold, to notice that data have changed."""


def find_contents(sets: Sequence[CheckedSet]) -> Contents:
    """Number the contents of all input cells. Media are told apart as in duplicate-free batches."""
    keys: list[npt.NDArray[np.uint64]] = []
    places: list[tuple[int, int]] = []
    for number, checked in enumerate(sets):
        for index, column in enumerate(checked.inputs):
            kind = "+".join(column.modalities).encode()
            found = (key.encode("utf-8", "surrogatepass") for key in column_keys(checked.rows, column))
            keys.append(np.fromiter((xxhash.xxh3_64_intdigest(kind + b" " + key) for key in found), dtype=np.uint64))
            places.append((number, index))
    together = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    _, first, inverse = np.unique(together, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by where they come first, not by their hash
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbered = rank[inverse]
    bounds = np.cumsum([0, *(len(key) for key in keys)])
    of = {place: numbered[bounds[i] : bounds[i + 1]] for i, place in enumerate(places)}
    name = xxhash.xxh3_128_hexdigest(together.tobytes())
    return Contents(of, _where(first[order], bounds, places), name)


def _where(cells: Numbers, bounds: Numbers, places: Sequence[tuple[int, int]]) -> Numbers:
    column = np.searchsorted(bounds, cells, side="right") - 1
    where = np.array(places, dtype=np.int64).reshape(-1, 2)[column]
    return np.concatenate([where, (cells - bounds[column])[:, None]], axis=1)
