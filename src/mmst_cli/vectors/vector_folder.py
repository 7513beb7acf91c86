"""A folder of vectors as `mmst encode` writes it: what its files are called, and reading it piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.errors import ConfigError, DataError, visible
from mmst_cli.vectors.quantise import VectorFormat, check_precision
from mmst_cli.work import JOB, part_path, read_job

# With a line before them, as all that Arrow passes over in a folder that is opened as a whole.
RECORD, MANIFEST, ERRORS, RANGES = "_job.json", "_manifest.json", "_errors.jsonl", "_ranges.json"
BEFORE = (JOB, "manifest.json", "errors.jsonl", "ranges.json")  # as earlier versions called them
INDEXES = "_index-*"  # what `mmst search --index` builds of them
OURS = (RECORD, MANIFEST, ERRORS, RANGES, *BEFORE, INDEXES, "part-*.parquet", ".*.partial")


class Piece(NamedTuple):
    """Consecutive vectors of a collection."""

    first: int
    """Place of the first one in the collection."""
    ids: np.ndarray
    """Strings."""
    values: np.ndarray
    """As they are stored, shape (ids, values of one vector)."""


@dataclass(frozen=True)
class VectorFolder:
    """A finished output of `mmst encode`."""

    path: Path
    manifest: dict[str, Any]
    """What the vectors are."""
    job: dict[str, Any]
    """What was asked for; empty where the record was taken away."""
    form: VectorFormat
    """How they are stored."""
    parts: tuple[tuple[Path, int], ...]
    """Files, and how many vectors each holds."""

    @property
    def count(self) -> int:
        """How many vectors there are."""
        return sum(rows for _, rows in self.parts)

    @property
    def weights(self) -> Any:
        """Digest of the weights of the model that made them; nothing for a model of the hub."""
        return self.manifest.get("weights", self.job.get("weights"))

    def pieces(self, rows: int) -> Iterator[Piece]:
        """Yield all vectors in their order, at most ``rows`` at a time; the files are memory-mapped.

        Raises:
            DataError: a file is damaged.
        """
        first = 0
        for path, _ in self.parts:
            with _told_of(path), pq.ParquetFile(path, memory_map=True) as file:
                for batch in file.iter_batches(batch_size=rows, columns=["id", "embedding"]):
                    ids, values = batch.column("id"), batch.column("embedding").flatten()
                    if ids.null_count or values.null_count or len(values) != len(ids) * self.form.values:
                        raise DataError(damaged(path, "an id or a vector in it is empty"))
                    yield Piece(first, np.array(ids.to_pylist(), dtype=object), self._as_array(values))
                    first += len(ids)

    def _as_array(self, values: pa.Array) -> np.ndarray:
        # Not by `to_numpy`, which imports pandas at its first use: a Ctrl-C is lost in there.
        flat = np.frombuffer(values.buffers()[1], dtype=self.form.value_type)
        return flat[values.offset : values.offset + len(values)].reshape(-1, self.form.values)

    def ids_at(self, places: np.ndarray) -> dict[int, str]:
        """Return the ids of the vectors at some places in the collection; no vector is read.

        Raises:
            DataError: a file is damaged.
        """
        wanted, found, first = np.unique(places), dict[int, str](), 0
        for path, _ in self.parts:
            with _told_of(path), pq.ParquetFile(path, memory_map=True) as file:
                for group in range(file.num_row_groups):
                    rows = file.metadata.row_group(group).num_rows
                    here = wanted[(wanted >= first) & (wanted < first + rows)]
                    if len(here):
                        ids = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
                        found |= {place: ids[place - first] for place in here.tolist()}
                    first += rows
        return found


def vectors_path(output: Path, number: int) -> Path:
    """Return where part ``number`` stands."""
    return part_path(output, "part", number)


def open_vectors(path: Path, key: str = "VECTORS") -> VectorFolder:
    """Open what `mmst encode` wrote, and check that all of it is there; no vector is read.

    Args:
        path: the folder.
        key: what names it to a user.

    Raises:
        DataError: no such folder, none that `mmst encode` wrote, half done, or damaged.
    """
    if not path.is_dir():
        what = "a file; name the folder that `mmst encode` wrote"
        if not path.exists():
            what = "no such folder; `mmst encode` writes one"
        raise DataError(f"{key}: {visible(path)}: {what}.")
    manifest = read_job(path, MANIFEST)
    if manifest is None:
        raise DataError(f"{key}: {visible(path)}: {_unfinished(path)}")
    try:
        dimension, precision = int(manifest["dimension"]), check_precision(str(manifest["precision"]))
        parts = tuple((path / str(part["file"]), int(part["rows"])) for part in manifest["parts"])
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(damaged(path / MANIFEST, "it doesn't say what the vectors are")) from error
    ranges = _load_ranges(path, dimension) if precision == "int8" else None
    form = VectorFormat(dimension, precision, ranges)
    folder = VectorFolder(path, manifest, read_job(path, RECORD) or {}, form, parts)
    for file, rows in parts:
        _check_part(file, rows, form)
    if not folder.count:
        raise DataError(f"{key}: {visible(path)}: it holds no vectors.")
    return folder


def _unfinished(path: Path) -> str:
    if (path / MANIFEST).exists():
        return f"{MANIFEST} can't be read. Encode again with --overwrite."
    if (path / RECORD).exists():
        return "half done; the command it was begun with ends it with --resume."
    if (path / BEFORE[0]).exists():
        return "written by an earlier version; the command it was written with brings it up to date with --resume."
    return f"no folder that `mmst encode` wrote ({MANIFEST} is missing)."


def _load_ranges(path: Path, dimension: int) -> np.ndarray:
    from mmst_cli.vectors.ranges import load_ranges  # imports torch

    ranges = load_ranges(path / RANGES).by_dim.get(dimension)
    if ranges is None:
        raise DataError(damaged(path / RANGES, f"no ranges of {dimension} dimensions in it"))
    return ranges


def _check_part(path: Path, rows: int, form: VectorFormat) -> None:
    with _told_of(path), pq.ParquetFile(path, memory_map=True) as file:
        schema, found = file.schema_arrow, file.metadata.num_rows
    columns = dict(zip(schema.names, schema.types, strict=True))
    kind: Any = columns.get("embedding")
    fits = kind is not None and pa.types.is_fixed_size_list(kind) and kind.list_size == form.values
    if columns.get("id") != pa.string() or not fits or kind.value_type != pa.from_numpy_dtype(form.value_type):
        raise DataError(damaged(path, f"its columns are not ids and {form.precision} of {form.dimension} dimensions"))
    if found != rows:
        raise DataError(damaged(path, f"it holds {found:,} vectors, and {MANIFEST} says {rows:,}"))


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else f"it can't be read ({error})"
        raise DataError(damaged(path, " ".join(reason.split()))) from error


def damaged(path: Path, reason: str) -> str:
    """Return the sentence about a file of a folder that is not what `mmst encode` wrote."""
    return f"{path}: damaged, for {reason}. Encode again with --overwrite, or bring back the file that was there."
