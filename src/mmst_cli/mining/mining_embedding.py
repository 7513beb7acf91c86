"""The vectors of all anchors and of all positives, each distinct content once, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmst_cli.errors import DataError, WorkError
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Part, Side, StoredPrints, StoredVectors, write_array
from mmst_cli.model.precision import Precision
from mmst_cli.rows.columns import ROW, Column, RowSet, as_input, place
from mmst_cli.similarity.sketch import sketch_of
from mmst_cli.terminal import Progress
from mmst_cli.vectors.input_stream import Task, encode_stream
from mmst_cli.vectors.refused_inputs import RefusedInputError
from mmst_cli.work import part_path

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

ROWS_PER_PART = 2_000


@dataclass(frozen=True)
class Embedder:
    """A model, how it is run, and where its vectors are kept."""

    model: SentenceTransformer
    folder: Path
    batch_size: int
    precision: Precision
    rows_per_part: int = ROWS_PER_PART

    def encode(self, inputs: Iterable[Any], task: Task) -> FloatArray:
        """Return vectors of length 1, shape (inputs, dimension)."""
        stream = encode_stream(self.model, inputs, batch_size=self.batch_size, task=task, precision=self.precision)
        vectors = [torch.nn.functional.normalize(piece, p=2, dim=1).cpu().numpy() for piece in stream]
        dimension = int(self.model.get_embedding_dimension() or 0)
        return np.concatenate(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)


def embed_side(
    embedder: Embedder, rows: RowSet, column: Column, task: Task, *, with_prints: bool, progress: Progress
) -> Side:
    """Embed a column, each distinct content once, and go on behind the parts that are there.

    Args:
        embedder: the model and the folder.
        rows: the rows.
        column: which of their inputs.
        task: query or document; also the name of the parts.
        with_prints: keep what near duplicates are told by.
        progress: counts rows.

    Raises:
        WorkError: an input can't be read, or has no finite vector; the message names its row.
    """
    narrow, count, step = rows.narrow(column), len(rows), embedder.rows_per_part
    places: dict[bytes, int] = {}
    place_of = np.empty(count, dtype=np.int64)
    first_row: list[int] = []
    parts = [Part(embedder.folder, task, number) for number in range(-(-count // step))]
    for part in parts:
        covered = range(part.number * step, min(count, (part.number + 1) * step))
        if not part.is_whole():
            write_part(embedder, part, replace(narrow, rows=narrow.rows.select(covered)), column, places, with_prints)
        for row, name in zip(covered, part.read().column("digest").to_pylist(), strict=True):
            place = places.setdefault(name, len(places))
            place_of[row] = place
            if place == len(first_row):
                first_row.append(row)
        progress.advance(len(covered))
    vectors = StoredVectors([part.vectors for part in parts])
    prints = StoredPrints(parts if with_prints else [])
    return Side(place_of, np.array(first_row, dtype=np.int64), places, vectors, prints)


def write_part(
    embedder: Embedder, part: Part, rows: RowSet, column: Column, known: dict[bytes, int], with_prints: bool
) -> None:
    """Read, digest and embed the rows of one part, but for contents that are known.

    Raises:
        WorkError: an input can't be read, or has no finite vector; the message names its row.
    """
    digests: list[bytes] = []
    prints: list[bytes | None] = []
    new: dict[bytes, int] = {}

    def inputs() -> Iterator[Any]:
        for number, value in enumerate(read_values(rows, column)):
            name = digest_of_input(column.modality, value)
            is_new = name not in known and name not in new
            digests.append(name)
            # Without sketches an empty one still says whose vector is there.
            prints.append(sketch_of(column.modality, value).to_bytes() if is_new and with_prints else None)
            if is_new:
                new[name] = number
                yield as_input(value, column.modality)

    def drawn(index: int) -> Any:
        return rows.rows[list(new.values())[index]]

    with refused_by_row(drawn, rows, column):
        vectors = embedder.encode(inputs(), part.name)  # type: ignore[arg-type]
    check_finite(vectors, drawn, rows, column)
    part.write(vectors, digests, prints)


def read_values(rows: RowSet, column: Column) -> Iterator[Any]:
    """Yield what the rows hold of a column, decoded one at a time.

    Raises:
        WorkError: an input can't be read, which was not seen before the work began.
    """
    try:
        yield from rows.values(column)
    except DataError as error:
        raise WorkError(str(error)) from error


@contextmanager
def refused_by_row(drawn: Callable[[int], Any], rows: RowSet, column: Column) -> Iterator[None]:
    """Name the row of an input that the model's processor refuses.

    Raises:
        WorkError: it does.
    """
    try:
        yield
    except RefusedInputError as error:
        number = rows.find(drawn(error.place), column.origin).get(ROW)
        raise WorkError(f"{place(rows.key, number, column.name)}: {error.reason} Remove the row.") from error


def check_finite(vectors: FloatArray, drawn: Callable[[int], Any], rows: RowSet, column: Column) -> None:
    """Check that a model gave every input a vector to compare.

    Raises:
        WorkError: one has none; the message names the row.
    """
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        number = rows.find(drawn(int(broken[0])), column.origin).get(ROW)
        raise WorkError(
            f"datasets.{rows.key}, row {number}, column {column.name}: the model gave no finite vector for it."
            " Remove the row, or take another precision."
        )


def embed_again(
    embedder: Embedder, rows: RowSet, column: Column, task: Task, first_row: Numbers, progress: Progress
) -> StoredVectors:
    """Embed distinct contents, known by their first rows, with a second model: vectors of shape (distinct, dimension).

    Raises:
        WorkError: an input can't be read.
    """
    narrow, step = rows.narrow(column), embedder.rows_per_part
    files = []
    for number, start in enumerate(range(0, len(first_row), step)):
        wanted = first_row[start : start + step]
        path = part_path(embedder.folder, f"second-{task}", number, ".npy")
        if not path.is_file():
            some = replace(narrow, rows=narrow.rows.select(wanted))
            with refused_by_row(some.rows.__getitem__, rows, column):
                values = (as_input(value, column.modality) for value in read_values(some, column))
                vectors = embedder.encode(values, task)
            check_finite(vectors, some.rows.__getitem__, rows, column)
            write_array(path, vectors)
        files.append(path)
        progress.advance(len(wanted))
    return StoredVectors(files)
