"""A collection in the dimension and precision in which it is searched, piece by piece, and how it is scored.

What is scored is what `mmst encode --dim --precision` would have written, as `mmst eval` measures it: shortened vectors
normalised again, both sides of int8 quantised with the same ranges, binary by the dimensions that agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from mmst_cli.errors import ConfigError, DataError
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.quantise import PRECISIONS, STORED_AS, check_precision, quantise, ranges_of, shorten
from mmst_cli.vectors.vector_folder import VectorFolder

RESCORED = "binary-rescored"
SEARCHED = (*PRECISIONS, RESCORED)
PIECE_VALUES = 2**22  # values held at a time: 32 MiB in float64
PIECE_ROWS = 2**16


def _distance(norm: float, queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    # By products of matrices, as torch does it otherwise, what is nearly equal would be some way off.
    return -torch.cdist(queries, vectors, p=norm, compute_mode="donot_use_mm_for_euclid_dist")


def _product(queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return queries @ vectors.T


SIMILARITIES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cosine": _product,  # of vectors that are normalised once, and not once a query
    "dot": _product,
    "euclidean": partial(_distance, 2.0),
    "manhattan": partial(_distance, 1.0),
}


class Scored(NamedTuple):
    """Consecutive vectors as they are scored."""

    places: np.ndarray
    """In the collection."""
    ids: np.ndarray
    vectors: torch.Tensor
    """float64, shape (ids, dim). In float64 equal vectors have equal scores, wherever in a piece they stand."""


@dataclass
class SearchedVectors:
    """A collection as it is searched."""

    folder: VectorFolder
    dim: int
    precision: str
    similarity: str
    """Of the model: cosine, dot, euclidean or manhattan."""
    ranges: np.ndarray | None = None
    """For int8, shape (2, dim)."""
    broken: list[str] = field(default_factory=list)
    """Ids of vectors that hold NaN or infinity; they are left out."""

    @property
    def stored(self) -> str:
        """The precision in which vectors of this kind are stored."""
        return STORED_AS.get(self.precision, self.precision)

    @property
    def by_bits(self) -> bool:
        """Whether a vector is scored as bits."""
        return self.stored == "binary"

    @property
    def rows(self) -> int:
        """Vectors of a piece."""
        return max(1, min(PIECE_ROWS, PIECE_VALUES // self.folder.form.dimension))

    def pieces(self) -> Iterator[Scored]:
        """Yield the collection as it is scored, without its broken vectors."""
        self.broken.clear()
        for first, ids, values in self.folder.pieces(self.rows):
            places = np.arange(first, first + len(ids))
            if values.dtype.kind == "f" and not (finite := np.isfinite(values).all(axis=1)).all():
                self.broken += ids[~finite].tolist()
                places, ids, values = places[finite], ids[finite], values[finite]
            if len(ids):
                yield Scored(places, ids, self._ready(self._as_asked(values)))

    def prepare(self, queries: torch.Tensor) -> torch.Tensor:
        """Return queries as they are scored.

        Args:
            queries: float32, shape (queries, dimension of the folder or less, but at least ``dim``).
        """
        whole = queries.shape[1] == self.folder.form.dimension == self.dim
        queries = queries if whole else shorten(queries, self.dim)
        if self.stored == "int8":
            queries = torch.from_numpy(quantise(queries, "int8", self.ranges))
        if self.precision == "binary":
            return signs(queries.double())
        return self._ready(queries)

    def score(self, queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return float32 scores of shape (queries, vectors), of what :meth:`prepare` and :meth:`pieces` gave."""
        score = _product if self.by_bits else SIMILARITIES[self.similarity]
        return score(queries, vectors).float()

    def agreement(self, queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return the scores of binary, by which bits to rescore are chosen: dimensions that agree less others."""
        wanted = signs(queries)
        return (2 * _product(wanted, vectors) - wanted.sum(dim=1, keepdim=True)).float()

    def _ready(self, vectors: torch.Tensor) -> torch.Tensor:
        vectors = vectors.double()
        if self.similarity == "cosine" and not self.by_bits:
            return torch.nn.functional.normalize(vectors, p=2, dim=1)
        return vectors

    def _as_asked(self, values: np.ndarray) -> torch.Tensor:
        """Return stored vectors in dimension and precision as asked: bits as 0 and 1 for rescoring, else -1 and 1."""
        form = self.folder.form
        if form.precision == "binary":
            bits = np.unpackbits(values, axis=1, count=self.dim)
        elif self.stored == form.precision and self.dim == form.dimension:
            return torch.from_numpy(values.astype(np.float64))
        elif self.by_bits:
            bits = (self.shortened(values) > 0).numpy()
        else:
            return torch.from_numpy(quantise(self.shortened(values), self.stored, self.ranges))
        found = torch.from_numpy(bits).double()
        return found if self.precision == RESCORED else 2 * found - 1

    def shortened(self, values: np.ndarray) -> torch.Tensor:
        """Return stored vectors as float32, shortened to ``dim``."""
        form = self.folder.form
        floats = values.astype(np.float32)
        if form.precision == "int8":
            assert form.ranges is not None
            low, high = form.ranges
            floats = low + (floats + 128.5) * ((high - low) / 255)  # the middle of a step
        return shorten(torch.from_numpy(floats), self.dim if self.dim < form.dimension else None)


def signs(vectors: torch.Tensor) -> torch.Tensor:
    """Return 1 where a value is above 0, else -1."""
    return torch.where(vectors > 0, 1.0, -1.0).double()


def choose_form(folder: VectorFolder, dim: int | None, precision: str | None) -> tuple[int, str]:
    """Return the dimension and the precision to search in: as the vectors are stored, if left out.

    Bits are rescored with the floats of the query unless it is said otherwise.

    Raises:
        ConfigError: they are above what is stored, or unknown.
    """
    form = folder.form
    dim = form.dimension if dim is None else dim
    if not 1 <= dim <= form.dimension:
        raise ConfigError(
            f"--dim {dim}: the vectors of {folder.path} have {form.dimension} dimensions. Write 1 to {form.dimension}."
        )
    if precision is None:
        return dim, RESCORED if form.precision == "binary" else form.precision
    check_precision(precision, SEARCHED)
    if PRECISIONS.index(STORED_AS.get(precision, precision)) < PRECISIONS.index(form.precision):
        can = ", ".join(SEARCHED[PRECISIONS.index(form.precision) :])
        raise ConfigError(
            f"--precision {precision}: the vectors of {folder.path} are {form.precision}, which holds less."
            f" They can be searched as {can}."
        )
    return dim, precision


def view_vectors(
    folder: VectorFolder, dim: int, precision: str, similarity: str, terminal: Terminal
) -> SearchedVectors:
    """Return a collection as it is to be searched; where int8 needs ranges that aren't stored, they are measured.

    Raises:
        DataError: the ranges can't be measured.
    """
    searched = SearchedVectors(folder, dim, precision, similarity)
    form = folder.form
    if precision != "int8":
        return searched
    if form.precision == "int8" and dim == form.dimension:
        return replace(searched, ranges=form.ranges)
    return replace(searched, ranges=_measure_ranges(replace(searched, precision="float32"), terminal))


def _measure_ranges(searched: SearchedVectors, terminal: Terminal) -> np.ndarray:
    """Return the least and the greatest value of every dimension over a collection."""
    corners: list[np.ndarray] = []
    count = 0
    with terminal.progress("measuring the ranges of int8", searched.folder.count, unit="vectors") as progress:
        for _, ids, values in searched.folder.pieces(searched.rows):
            floats = searched.shortened(values[np.isfinite(values).all(axis=1)])
            count += len(floats)
            if len(floats):
                corners.append(torch.stack([floats.amin(dim=0), floats.amax(dim=0)]).numpy())
            progress.advance(len(ids))
    if count < 2:
        raise DataError(
            f"--precision int8: the range of a dimension can't be told from {count} vectors. Search in float32."
        )
    return ranges_of(np.concatenate(corners))
