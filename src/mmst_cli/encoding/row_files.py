"""`.jsonl`, `.parquet` and `.csv` files: what their columns hold, and their rows one at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.message import PARTS

SCANNED = 100  # lines of a JSON file that are looked through for columns, as a row need not have all
BATCH_ROWS = 32  # rows of a parquet file held at a time, undecoded
Row = dict[str, Any]


@dataclass(frozen=True)
class RowFile:
    """A file of rows, not read yet."""

    types: dict[str, Modality]
    """Column to what it seems to hold."""
    rows: Callable[[list[str]], Iterator[Callable[[], Row]]]
    """Walks over the rows with these columns; each is read when it is called."""
    count: int | None = None
    """Number of rows; None where only reading would tell."""
    noted: dict[str, Modality] = field(default_factory=dict)
    """Columns of media that the file itself says are such."""


def open_row_file(name: str, path: Path) -> RowFile:
    """Return the file, its columns known.

    Raises:
        DataError: it can't be read.
    """
    open_file = {".parquet": _open_parquet, ".csv": _open_csv, ".jsonl": _open_jsonl}[path.suffix.lower()]
    try:
        return open_file(path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"{name}: can't be read: {error}") from error


def _open_jsonl(path: Path) -> RowFile:
    with path.open("rb") as file:
        first = [json.loads(line) for line in islice((line for line in file if line.strip()), 1)]
        others = [_parse_quietly(line) for line in islice(file, SCANNED)]
    if not first:
        raise ValueError("it is empty")
    if not isinstance(first[0], dict):
        raise ValueError("its first line is no JSON object")
    types: dict[str, Modality | None] = {}
    for row in (*first, *(row for row in others if isinstance(row, dict))):
        for name, value in row.items():
            types[name] = types.get(name) or (_json_modality(value) if value is not None else None)

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        with path.open("rb") as file:
            yield from (partial(json.loads, line) for line in file if line.strip())

    return RowFile({name: kind or Modality.text for name, kind in types.items()}, rows)


def _parse_quietly(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # which fails alone, when it is read
        return None


def _json_modality(value: Any) -> Modality:
    """Tell what a value is; a mapping of bytes and path may be any medium, and is taken for an image."""
    if isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]:
        return Modality.message
    if not isinstance(value, dict):
        return Modality.text
    if "sampling_rate" in value:
        return Modality.audio
    if "video_metadata" in value:
        return Modality.video
    if {"role", "content"} <= value.keys():
        return Modality.message
    return Modality.mixed if value.keys() <= set(PARTS) else Modality.image


def _open_csv(path: Path) -> RowFile:
    csv.field_size_limit(2**31 - 1)  # a document in a cell is longer than the 128 kB allowed otherwise
    with _open_text(path) as file:
        header = next(csv.reader(file), None)
    if not header:
        raise ValueError("it has no header")

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        with _open_text(path) as file:
            for row in csv.DictReader(file):
                # There is no other way to leave a cell of such a file empty.
                yield partial(dict, {name: cell or None for name, cell in row.items()})

    return RowFile(dict.fromkeys(header, Modality.text), rows)


def _open_text(path: Path) -> TextIO:
    # A cell that is no UTF-8 fails when it is read, not here where it would end the file.
    return path.open(encoding="utf-8-sig", newline="", errors="surrogateescape")


def _open_parquet(path: Path) -> RowFile:
    with pq.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows

    def rows(columns: list[str]) -> Iterator[Callable[[], Row]]:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                reader = _RowGroup(file, group, columns)
                yield from (partial(reader.row, i) for i in range(file.metadata.row_group(group).num_rows))

    noted = _noted_features(schema)
    return RowFile({f.name: noted.get(f.name) or _arrow_modality(f.type) for f in schema}, rows, count, noted)


def _noted_features(schema: pa.Schema) -> dict[str, Modality]:
    """Return the columns that `datasets` wrote as media, by what it notes in the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    media = {"Image": Modality.image, "Audio": Modality.audio, "Video": Modality.video}
    return {n: media[f["_type"]] for n, f in features.items() if isinstance(f, dict) and f.get("_type") in media}


def _arrow_modality(kind: pa.DataType) -> Modality:
    if pa.types.is_struct(kind):
        return _json_modality({kind.field(index).name: None for index in range(kind.num_fields)})
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_struct(kind.value_type):
        return _json_modality([{kind.value_type.field(i).name: None for i in range(kind.value_type.num_fields)}])
    return Modality.image if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else Modality.text


class _RowGroup:
    """Rows of one row group, read in ascending order a few at a time; not read if none is asked for."""

    def __init__(self, file: pq.ParquetFile, group: int, columns: list[str]) -> None:
        self._batches: Iterator[pa.RecordBatch] = file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns)
        self._first, self._rows = 0, pa.RecordBatch.from_pylist([])

    def row(self, index: int) -> Row:
        while index >= self._first + self._rows.num_rows:
            self._first += self._rows.num_rows
            self._rows = next(self._batches)
        return {name: self._rows.column(name)[index - self._first].as_py() for name in self._rows.schema.names}
