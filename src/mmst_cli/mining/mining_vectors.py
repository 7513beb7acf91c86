"""What mining compares: distinct anchors and documents, kept on disk part by part, and which of them belong together.

A part covers a fixed number of consecutive inputs and takes its names once it is whole, so that a killed command goes
on behind the last whole part, and what it finds is the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmst_cli.errors import ModelError
from mmst_cli.similarity.sketch import Sketch
from mmst_cli.storage import whole_file
from mmst_cli.work import part_path

FloatArray = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
AT_A_TIME = 8_192  # pairs whose vectors are in memory
HELD = 2048  # sketches in memory, of tens of kilobytes each
_SCHEMA = pa.schema([("digest", pa.binary(16)), ("stored", pa.binary(16)), ("fingerprint", pa.binary())])


@dataclass(frozen=True)
class Part:
    """The files of one part."""

    folder: Path
    name: str
    number: int

    @property
    def vectors(self) -> Path:
        """Vectors of the inputs that no earlier one equals."""
        return part_path(self.folder, self.name, self.number, ".npy")

    @property
    def contents(self) -> Path:
        """Digests of each input, decoded and as stored, and a sketch where no earlier one equals it; written last."""
        return part_path(self.folder, self.name, self.number, ".arrow")

    def is_whole(self) -> bool:
        """Whether both files are there."""
        return self.contents.is_file() and self.vectors.is_file()

    def write(
        self, vectors: FloatArray, digests: Sequence[bytes], prints: Sequence[bytes | None], stored: Sequence[bytes]
    ) -> None:
        """Write both files."""
        write_array(self.vectors, vectors)
        names = [pa.array(names, pa.binary(16)) for names in (digests, stored)]
        batch = pa.record_batch([*names, pa.array(prints, pa.binary())], schema=_SCHEMA)
        with whole_file(self.contents) as partial, pa.ipc.new_file(str(partial), _SCHEMA) as writer:
            writer.write_batch(batch)

    def read(self) -> Any:
        """Return the contents as an arrow record batch that lies on disk."""
        return pa.ipc.open_file(pa.memory_map(str(self.contents))).get_batch(0)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array so that a reader sees all of it or nothing."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)


class StoredVectors:
    """Vectors of several files in a row, read where they are asked for; shape (count, dimension)."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._parts = [np.load(path, mmap_mode="r") for path in files]
        self._ends = np.cumsum([len(part) for part in self._parts])
        dimension = max(part.shape[1] for part in self._parts)
        self.shape = (int(self._ends[-1]), int(dimension))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> FloatArray:
        start, stop, _ = rows.indices(len(self))
        pieces = [part[max(0, start - first) : max(0, stop - first)] for first, part in self._with_starts()]
        return np.concatenate([piece for piece in pieces if len(piece)] or [np.empty((0, self.shape[1]), np.float32)])

    def take(self, places: Numbers) -> FloatArray:
        """Return vectors by their places, of the shape of ``places`` and one axis more."""
        flat = places.ravel()
        found = np.empty((len(flat), self.shape[1]), dtype=np.float32)
        owners = np.searchsorted(self._ends, flat, side="right")
        for number, (first, part) in enumerate(self._with_starts()):
            mine = owners == number
            if mine.any():
                found[mine] = part[flat[mine] - first]
        return found.reshape(*places.shape, self.shape[1])

    def _with_starts(self) -> Iterator[tuple[int, FloatArray]]:
        return ((int(end) - len(part), part) for end, part in zip(self._ends, self._parts, strict=True))


class StoredPrints:
    """Sketches by the place of their content."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._columns = [part.read().column("fingerprint") for part in parts]
        self._at = [
            (number, row)
            for number, column in enumerate(self._columns)
            for row in np.flatnonzero(np.asarray(column.is_valid())).tolist()
        ]
        self.get = lru_cache(HELD)(self._read)

    def _read(self, place: int) -> Sketch:
        number, row = self._at[place]
        return Sketch.from_bytes(self._columns[number][row].as_py())


@dataclass(frozen=True)
class Side:
    """The anchors, or the positives, of all rows: which are the same, and the vector and sketch of each.

    Attributes:
        place_of: row to the place of its content among the distinct ones, in the order they come; shape (rows,).
        first_row: distinct content to the first row that has it, shape (distinct,).
        digests: digest to place.
        vectors: of length 1, shape (distinct, dimension).
        prints: sketches, empty where none were wanted.
    """

    place_of: Numbers
    first_row: Numbers
    digests: dict[bytes, int]
    vectors: StoredVectors
    prints: StoredPrints


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
