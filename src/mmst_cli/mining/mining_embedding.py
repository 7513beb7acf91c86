"""The vectors of all anchors and of all positives, each distinct content once, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmst_cli.errors import DataError, WorkError
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.mining.mining_vectors import FloatArray, Numbers, Part, Side, StoredPrints, StoredVectors, write_array
from mmst_cli.model.precision import Precision
from mmst_cli.rows.columns import ROW, Column, RowSet, as_input, place
from mmst_cli.rows.stored_inputs import StoredInput, read_input, stored_inputs
from mmst_cli.similarity.sketch import sketch_of
from mmst_cli.terminal import Progress
from mmst_cli.vectors.data_workers import Workers
from mmst_cli.vectors.forward_pass import Task
from mmst_cli.vectors.input_stream import InputPipeline, all_vectors
from mmst_cli.vectors.prepared_batches import Read
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
    workers: Workers | None = None
    """Processes that prepare inputs; chosen by what preparing costs if left out."""
    normalize: bool = True
    """Keep vectors of length 1; false keeps them as the model gives them."""
    prompts: Mapping[Task, str] = field(default_factory=dict)
    """Task to the prompt of its inputs, where that isn't the model's own."""

    def pipeline(self, read: Read) -> InputPipeline:
        """Return what encodes inputs with the model."""
        return InputPipeline(
            self.model, read=read, batch_size=self.batch_size, precision=self.precision, workers=self.workers
        )

    def encode(
        self,
        pipeline: InputPipeline,
        inputs: Iterable[StoredInput],
        task: Task,
        notes: list[Any] | None = None,
        *,
        left: int,
    ) -> FloatArray:
        """Return vectors, shape (inputs, dimension).

        Args:
            pipeline: of this model.
            inputs: what there is to encode.
            task: as what.
            notes: takes what reading each input noted.
            left: how many inputs there are at most.

        Raises:
            WorkError: an input can't be read.
        """
        encoded = pipeline.encode(inputs, task=task, prompt=self.prompts.get(task), left=left)
        stream = all_vectors(encoded, notes=notes)
        try:
            vectors = [self._kept(piece).cpu().numpy() for piece in stream]
        except RefusedInputError:
            raise
        except DataError as error:
            raise WorkError(str(error)) from error
        dimension = int(self.model.get_embedding_dimension() or 0)
        return np.concatenate(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)

    def _kept(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vectors, p=2, dim=1) if self.normalize else vectors


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
    known, parts = Known({}, {}), []
    place_of = np.empty(len(rows), dtype=np.int64)
    first_row: list[int] = []
    with embedder.pipeline(partial(read_with_prints, with_prints)) as pipeline:
        for part, covered, places in _whole_parts(embedder, pipeline, rows, column, (task, task), known):
            parts.append(part)
            for row, place_there in zip(covered, places, strict=True):
                place_of[row] = place_there
                if place_there == len(first_row):
                    first_row.append(row)
            progress.advance(len(covered))
    vectors = StoredVectors([part.vectors for part in parts])
    prints = StoredPrints(parts if with_prints else [])
    return Side(place_of, np.array(first_row, dtype=np.int64), known.places, vectors, prints)


def embed_columns(
    embedder: Embedder, rows: RowSet, columns: Sequence[Column], task: Task, progress: Progress
) -> tuple[Numbers, StoredVectors]:
    """Embed several columns, each distinct content of all of them once, as :func:`embed_side` embeds one.

    Returns:
        The place of each input's vector, shape (rows, columns), and the vectors.

    Raises:
        WorkError: an input can't be read, or has no finite vector; the message names its row.
    """
    known, parts = Known({}, {}), []
    place_of = np.empty((len(rows), len(columns)), dtype=np.int64)
    with embedder.pipeline(partial(read_with_prints, False)) as pipeline:
        for number, column in enumerate(columns):
            names = (task, f"{task}-{number}")
            for part, covered, places in _whole_parts(embedder, pipeline, rows, column, names, known):
                parts.append(part)
                place_of[covered.start : covered.stop, number] = places
                progress.advance(len(covered))
    return place_of, StoredVectors([part.vectors for part in parts])


def _whole_parts(
    embedder: Embedder, pipeline: InputPipeline, rows: RowSet, column: Column, names: tuple[Task, str], known: Known
) -> Iterator[tuple[Part, range, list[int]]]:
    """Yield each part of a column, made where it isn't there, its rows, and the place of each row's content.

    Args:
        embedder: the model and the folder.
        pipeline: of the model.
        rows: the rows.
        column: which of their inputs.
        names: the task, and what the parts are called.
        known: the contents of the parts before; those of each part are added.
    """
    narrow, count, step = rows.narrow(column), len(rows), embedder.rows_per_part
    for number in range(-(-count // step)):
        part, covered = Part(embedder.folder, names[1], number), range(number * step, min(count, (number + 1) * step))
        if not part.is_whole():
            some = replace(narrow, rows=narrow.rows.select(covered))
            write_part(embedder, pipeline, part, some, column, names[0], known)
        contents = part.read()
        digests, stored = (contents.column(name).to_pylist() for name in ("digest", "stored"))
        known.as_stored.update(zip(stored, digests, strict=True))
        yield part, covered, [known.places.setdefault(name, len(known.places)) for name in digests]


@dataclass(frozen=True)
class Known:
    """The contents of the parts that are whole."""

    places: dict[bytes, int]
    """Digest to place among the distinct contents."""
    as_stored: dict[bytes, bytes]
    """What tells the stored cells apart, to the digest of what is read of them."""


def read_with_prints(with_prints: bool, stored: StoredInput) -> tuple[Any, tuple[bytes, bytes | None]]:
    """Return a model input, read, its digest, and what near duplicates are told by, where that is wanted."""
    value, modality = stored.read(), stored.column.modality
    sketch = sketch_of(modality, value).to_bytes() if with_prints else None
    return as_input(value, modality), (digest_of_input(modality, value), sketch)


def write_part(
    embedder: Embedder, pipeline: InputPipeline, part: Part, rows: RowSet, column: Column, task: Task, known: Known
) -> None:
    """Read, digest and embed the rows of one part, but for contents that are known.

    Raises:
        WorkError: an input can't be read, or has no finite vector; the message names its row.
    """
    identities: list[bytes] = []
    read: dict[bytes, int] = {}  # what is stored, to its row
    notes: list[tuple[bytes, bytes | None]] = []

    def inputs() -> Iterator[StoredInput]:
        for number, stored in enumerate(stored_inputs(rows, column)):
            identities.append(stored.identity())
            if identities[-1] not in known.as_stored and identities[-1] not in read:
                read[identities[-1]] = number
                yield stored

    with refused_by_row(lambda index: rows.rows[list(read.values())[index]], rows, column):
        vectors = embedder.encode(pipeline, inputs(), task, notes, left=len(rows))
    as_stored = known.as_stored | {stored: name for stored, (name, _) in zip(read, notes, strict=True)}
    new: dict[bytes, int] = {}  # digest to the position among those that were read
    for position, (name, _) in enumerate(notes):
        if name not in known.places:
            new.setdefault(name, position)
    drawn = [list(read.values())[position] for position in new.values()]
    check_finite(vectors := vectors[list(new.values())], lambda index: rows.rows[drawn[index]], rows, column)
    prints: list[bytes | None] = [None] * len(identities)
    for number, position in zip(drawn, new.values(), strict=True):
        prints[number] = notes[position][1]
    part.write(vectors, [as_stored[stored] for stored in identities], prints, identities)


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
    with embedder.pipeline(read_input) as pipeline:
        for number, start in enumerate(range(0, len(first_row), step)):
            wanted = first_row[start : start + step]
            path = part_path(embedder.folder, f"second-{task}", number, ".npy")
            if not path.is_file():
                some = replace(narrow, rows=narrow.rows.select(wanted))
                with refused_by_row(some.rows.__getitem__, rows, column):
                    vectors = embedder.encode(pipeline, stored_inputs(some, column), task, left=len(wanted))
                check_finite(vectors, some.rows.__getitem__, rows, column)
                write_array(path, vectors)
            files.append(path)
            progress.advance(len(wanted))
    return StoredVectors(files)
