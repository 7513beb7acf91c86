"""Rows of `.jsonl`, `.parquet` and `.csv` files as inputs to encode."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.items import Item, Source, read_image
from mmst_cli.encoding.pipeline import as_input
from mmst_cli.errors import ConfigError, DataError, did_you_mean

TAKEN = (Modality.text, Modality.image)
BATCH_ROWS = 32  # rows of a parquet file held at a time, undecoded
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column to encode."""

    name: str
    modality: Modality


def open_rows(name: str, path: Path, wanted: list[str]) -> Source:
    """Check that a file of rows has the wanted columns and return it, unread.

    Several columns make one input of several modalities a row, in the order in which they are named: a model
    that reads messages sees them in that order.

    Raises:
        ConfigError: no column is named, or two of one modality.
        DataError: the file can't be read, or lacks a column.
    """
    open_file = {".parquet": _open_parquet, ".csv": _open_csv, ".jsonl": _open_jsonl}[path.suffix.lower()]
    try:
        types, count, rows = open_file(path)
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise DataError(f"{name}: can't be read: {error}") from error
    columns = [_find_column(name, text, types) for text in wanted]
    modalities = tuple(sorted(column.modality for column in columns))
    if not columns:
        raise ConfigError(f"--column: {name} has {', '.join(types)}. Name the one to encode.")
    if len(set(modalities)) < len(modalities):
        raise ConfigError("--column: columns that make up one input need different modalities.")

    def items() -> Iterator[Item]:
        for number, row in enumerate(rows([column.name for column in columns])):
            yield Item(f"{name}#{number}", modalities, partial(_read_row, row, columns, path.parent))

    return Source(name, modalities, items, count, path.stat().st_size)


def _find_column(file: str, wanted: str, types: dict[str, Modality]) -> Column:
    """Tell `name` from `name:modality`; a column's own name may hold a colon."""
    name, _, declared = wanted.rpartition(":")
    if wanted in types:
        name, declared = wanted, ""
    elif name not in types:
        name, declared = (name, declared) if declared in TAKEN else (wanted, "")
        raise DataError(f"{file}: no column {name}; there is {', '.join(types)}." + did_you_mean(name, types))
    if declared and declared not in TAKEN:
        raise ConfigError(f"--column {wanted}: encode takes {' and '.join(TAKEN)}, not {declared}.")
    if declared == Modality.text and types[name] == Modality.image:
        raise DataError(f"{file}: column {name} holds bytes or images, not text.")
    return Column(name, Modality(declared) if declared else types[name])


Opened = tuple[dict[str, Modality], int | None, Callable[[list[str]], Iterator[Callable[[], Row]]]]


def _open_jsonl(path: Path) -> Opened:
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), None)
    if first is None:
        raise ValueError("it is empty")
    row = json.loads(first)
    if not isinstance(row, dict):
        raise ValueError("its first line is no JSON object")

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        with path.open("rb") as file:
            yield from (partial(json.loads, line) for line in file if line.strip())

    return {name: _json_modality(value) for name, value in row.items()}, None, rows


def _json_modality(value: Any) -> Modality:
    return Modality.image if isinstance(value, dict) else Modality.text


def _open_csv(path: Path) -> Opened:
    csv.field_size_limit(2**31 - 1)  # a document in a cell is longer than the 128 kB allowed otherwise
    with _open_text(path) as file:
        header = next(csv.reader(file), None)
    if not header:
        raise ValueError("it has no header")

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        with _open_text(path) as file:
            for row in csv.DictReader(file):
                yield partial(dict, row)

    return dict.fromkeys(header, Modality.text), None, rows


def _open_text(path: Path) -> TextIO:
    # A cell that is no UTF-8 fails when it is read, not here where it would end the file.
    return path.open(encoding="utf-8-sig", newline="", errors="surrogateescape")


def _open_parquet(path: Path) -> Opened:
    with pq.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows

    def rows(columns: list[str]) -> Iterator[Callable[[], Row]]:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                reader = _RowGroup(file, group, columns)
                yield from (partial(reader.row, i) for i in range(file.metadata.row_group(group).num_rows))

    return {field.name: _arrow_modality(field.type) for field in schema}, count, rows


def _arrow_modality(kind: pa.DataType) -> Modality:
    is_media = pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return Modality.image if is_media else Modality.text


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


def _read_row(read: Callable[[], Row], columns: list[Column], folder: Path) -> Any:
    row = read()
    if not isinstance(row, dict):
        raise DataError("no JSON object")
    values = {column.modality: _read_value(row.get(column.name), column, folder) for column in columns}
    if len(values) > 1:
        return {str(modality): value for modality, value in values.items()}
    return next(as_input(value, modality) for modality, value in values.items())


def _read_value(value: Any, column: Column, folder: Path) -> Any:
    if value is None:
        raise DataError(f"column {column.name} is empty")
    if column.modality == Modality.text:
        if not isinstance(value, str):
            raise DataError(f"column {column.name} holds {type(value).__name__}, not text")
        value.encode("utf-8")  # raises on what was no text in the file
        return value
    if isinstance(value, dict):  # as datasets stores it
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if isinstance(value, bytes):
        return read_image(value)
    if not isinstance(value, str):
        raise DataError(f"column {column.name} holds neither bytes nor the path of an image")
    if value.startswith(("http://", "https://")):
        raise DataError(f"column {column.name} holds an address, and nothing is fetched here: {value}")
    return read_image(folder / value)
