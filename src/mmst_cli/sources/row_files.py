"""Tables read a row at a time: what their columns hold, and rows that are read when they are asked for.

Nothing is copied, and a row that is broken fails alone. Files of other kinds, and what isn't files, come as
:func:`mmst_cli.sources.tables.load_rows` gives them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.config.schema import DatasetConfig, Modality
from mmst_cli.errors import DataError, visible
from mmst_cli.media.message import PARTS
from mmst_cli.sources.places import find_place, row_ending
from mmst_cli.sources.tables import leave_undecoded, load_rows
from mmst_cli.sources.text_rows import header_of, open_bytes, separated_values, text_lines

SCANNED = 100  # lines of a JSON file that are looked through for columns, as a row need not have all
BATCH_ROWS = 32  # rows of a parquet file held at a time, undecoded
Row = dict[str, Any]


@dataclass(frozen=True)
class RowsInTurn:
    """A table, not read yet."""

    types: dict[str, Modality]
    """Column to what it seems to hold."""
    rows: Callable[[list[str]], Iterator[Callable[[], Row]]]
    """Walks over the rows with these columns; each is read when it is called."""
    count: int | None = None
    """Number of rows; None where only reading would tell."""
    noted: dict[str, Modality] = field(default_factory=dict)
    """Columns of media that the file itself says are such."""


def open_rows_in_turn(key: str, config: DatasetConfig) -> RowsInTurn:
    """Return the table that a dataset section names, its columns known.

    Args:
        key: name of the section under ``datasets``, for messages.
        config: the section; its columns are not looked at.

    Raises:
        DataError: it isn't there, or can't be read.
    """
    at = f"datasets.{key}"
    place = find_place(at, config)
    files = place.addresses
    openers = {_OPENERS.get(row_ending(file)) for file in files}
    if config.sql is None and config.max_rows is None and config.split == "train" and len(openers) == 1:
        (open_file,) = openers
        if open_file is not None:
            names = files if len(files) > 1 else (config.path,)
            return _join(at, dict(zip(names, files, strict=True)), open_file)
    rows = load_rows(key, config)
    rows = leave_undecoded(rows, rows.column_names)
    noted, types = _columns_of(rows.features.arrow_schema)

    def each(columns: list[str]) -> Iterator[Callable[[], Row]]:
        chosen = rows.select_columns(columns)
        return (partial(chosen.__getitem__, number) for number in range(len(chosen)))

    return RowsInTurn(types, each, len(rows), noted)


def _join(at: str, files: Mapping[str, str], open_file: Callable[[str], RowsInTurn]) -> RowsInTurn:
    """Return the rows of files, by what they are called in messages, one file after another.

    Their columns are those of the first; of the others no more is read at first than how many rows they have.
    """

    def opened(name: str) -> RowsInTurn:
        try:
            return open_file(files[name])
        except _UNREADABLE as error:
            raise _unreadable(at, name, error) from error

    def rows(columns: list[str]) -> Iterator[Callable[[], Row]]:
        for name in files:
            try:
                yield from opened(name).rows(columns)
            except _UNREADABLE as error:
                raise _unreadable(at, name, error) from error

    first = opened(next(iter(files)))
    if first.count is None:  # only Parquet tells
        return replace(first, rows=rows)
    others = sum(opened(name).count or 0 for name in list(files)[1:])
    return replace(first, rows=rows, count=first.count + others)


def _unreadable(at: str, name: str, error: BaseException) -> DataError:
    return DataError(f"{at}.path: {visible(name)}: can't be read: {error}")


def _open_jsonl(file: str) -> RowsInTurn:
    def lines() -> Iterator[bytes]:
        return (line for line in text_lines(file) if line.strip())

    beginning = list(islice(lines(), SCANNED))
    if not beginning:
        raise ValueError("it is empty")
    first = json.loads(beginning[0])
    if not isinstance(first, dict):
        raise ValueError("its first line is no JSON object")
    types: dict[str, Modality | None] = {}
    for row in (first, *map(_parse_quietly, beginning[1:])):
        for name, value in row.items() if isinstance(row, dict) else ():
            types[name] = types.get(name) or (json_modality(value) if value is not None else None)

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        return (partial(json.loads, line) for line in lines())

    return RowsInTurn({name: kind or Modality.text for name, kind in types.items()}, rows)


def _parse_quietly(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # which fails alone, when it is read
        return None


def json_modality(value: Any) -> Modality:
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


def _open_csv(file: str, delimiter: str = ",") -> RowsInTurn:
    header = header_of(file, delimiter)
    count = sum(1 for _ in separated_values(file, delimiter))  # which finds what is wrong with the file as a whole

    def rows(_columns: list[str]) -> Iterator[Callable[[], Row]]:
        return (partial(dict, row) for row in separated_values(file, delimiter))

    return RowsInTurn(dict.fromkeys(header, Modality.text), rows, count)


def _open_parquet(file: str) -> RowsInTurn:
    with open_bytes(file) as opened, pq.ParquetFile(opened) as table:
        schema, count = table.schema_arrow, table.metadata.num_rows

    def rows(columns: list[str]) -> Iterator[Callable[[], Row]]:
        with open_bytes(file) as opened, pq.ParquetFile(opened) as table:
            for group in range(table.num_row_groups):
                reader = _RowGroup(table, group, columns)
                yield from (partial(reader.row, i) for i in range(table.metadata.row_group(group).num_rows))

    noted, types = _columns_of(schema)
    return RowsInTurn(types, rows, count, noted)


def _columns_of(schema: pa.Schema) -> tuple[dict[str, Modality], dict[str, Modality]]:
    """Return the columns that are noted as media, and what every column seems to hold."""
    noted = _noted_features(schema)
    return noted, {field.name: noted.get(field.name) or _arrow_modality(field.type) for field in schema}


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
        return json_modality({kind.field(index).name: None for index in range(kind.num_fields)})
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_struct(kind.value_type):
        return json_modality([{kind.value_type.field(i).name: None for i in range(kind.value_type.num_fields)}])
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
        return {name: _value_of(self._rows.column(name)[index - self._first]) for name in self._rows.schema.names}


def _value_of(cell: pa.Scalar) -> Any:
    value = cell.as_py()
    # A column of JSON is how Arrow keeps values of several types; a text in it stands in quotation marks.
    return json.loads(value) if isinstance(cell.type, pa.JsonType) and value is not None else value


_OPENERS: dict[str, Callable[[str], RowsInTurn]] = {
    ".parquet": _open_parquet,
    ".jsonl": _open_jsonl,
    ".csv": _open_csv,
    ".tsv": partial(_open_csv, delimiter="\t"),
}
_UNREADABLE = (OSError, EOFError, ValueError, ImportError, zlib.error, pa.ArrowException)
