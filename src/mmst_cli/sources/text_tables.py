"""Text files as tables of `datasets`: texts stay the texts that stand there, whatever they look like.

The library's own readers take 007 for 7, from row 10,000 on or from the first, 2021-03-01 for a time, NA for nothing,
and one column of two types makes them refuse all others.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import PurePath
from typing import Any

import pyarrow as pa
from datasets import ArrowBasedBuilder, BuilderConfig, DatasetBuilder, DatasetInfo, Features, SplitGenerator
from datasets.builder import Key
from datasets.packaged_modules.csv.csv import Csv, CsvConfig
from datasets.packaged_modules.json.json import Json

from mmst_cli.sources.arrow_types import common_type
from mmst_cli.sources.text_rows import json_rows, separated_values

CHUNK = 5000  # rows that become one batch
PEEKED = 1000  # rows of a stream that its types are inferred from
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
Rows = Iterator[dict[str, Any]]


@dataclass
class TextTableConfig(BuilderConfig):  # type: ignore[misc]
    """How the files are read."""

    delimiter: str = ""
    """Between values; nothing for JSON."""
    texts: tuple[str, ...] = ()
    """Columns of separated values whose numbers are texts, too."""
    labels: tuple[str, ...] = ()
    """Columns whose values are numbers however they are written."""
    for_query: bool = False
    """Whether a query may compare further columns as numbers."""


class TextTable(ArrowBasedBuilder):  # type: ignore[misc]
    """Rows of JSON or of separated values.

    Of separated values, a column that isn't declared a text is numbers if each value is one that comes back as it was
    written (1, -2.5; not 007, 1.50 or NA); for queries, if each is a number in decimal notation. A column of JSON whose
    values have no type in common holds values of several kinds.
    """

    BUILDER_CONFIG_CLASS = TextTableConfig

    def _info(self) -> DatasetInfo:
        return DatasetInfo()

    def _split_generators(self, dl_manager: Any) -> list[SplitGenerator]:
        splits, sources = [], []
        for split, names in self.config.data_files.items():
            files = dl_manager.download(list(names))
            sources += list(zip(files, names, strict=True))
            splits.append(SplitGenerator(split, gen_kwargs={"files": files, "names": list(names)}))
        rows = chain.from_iterable(self._read(file, name) for file, name in sources)
        peeked = islice(rows, PEEKED) if dl_manager.is_streaming else rows
        self._types = self._infer_numbers(peeked) if self.config.delimiter else _infer_json(peeked)
        self.info.features = Features.from_arrow_schema(pa.schema(self._types.items()))
        return splits

    def _read(self, file: str, name: str) -> Rows:
        """Yield the rows of a file.

        Raises:
            ValueError: it can't be read to its end; the message names it.
        """
        try:
            yield from (
                separated_values(file, self.config.delimiter, name) if self.config.delimiter else json_rows(file, name)
            )
        except (ValueError, EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{PurePath(name).name}: {error}") from error

    def _infer_numbers(self, rows: Rows) -> dict[str, pa.DataType]:
        """Return the types of columns of separated values: whole numbers, numbers or text."""
        kinds: dict[str, pa.DataType] = {}
        for row in rows:
            for column, cell in row.items():
                kind = kinds.setdefault(column, pa.string() if column in self.config.texts else pa.null())
                if cell is not None and kind != pa.string():
                    kinds[column] = self._widen(kind, cell, is_label=column in self.config.labels)
        return {column: pa.string() if kind == pa.null() else kind for column, kind in kinds.items()}

    def _widen(self, kind: pa.DataType, cell: str, *, is_label: bool) -> pa.DataType:
        if kind != pa.float64() and _WHOLE.fullmatch(cell):
            return pa.int64()
        try:
            number = float(cell)
        except ValueError:
            return pa.string()
        written = _NUMBER.fullmatch(cell) if self.config.for_query else str(number) == cell or _WHOLE.fullmatch(cell)
        return pa.float64() if is_label or written else pa.string()

    def _generate_shards(self, files: list[str], names: list[str]) -> Iterator[str]:
        yield from names

    def _generate_tables(self, files: list[str], names: list[str]) -> Iterator[tuple[Key, pa.Table]]:
        for shard, (file, name) in enumerate(zip(files, names, strict=True)):
            rows = self._read(file, name)
            for number, chunk in enumerate(iter(lambda: list(islice(rows, CHUNK)), [])):  # noqa: B023
                yield Key(shard, number), self._to_table(chunk, number * CHUNK)

    def _to_table(self, rows: list[dict[str, Any]], first: int) -> pa.Table:
        """Return rows as a table of the types that were found.

        Raises:
            ValueError: a row has another type than those that a stream began with.
        """
        make = _parse_numbers if self.config.delimiter else _to_array
        arrays = []
        for column, kind in self._types.items():
            values = [row.get(column) for row in rows]
            try:
                arrays.append(make(values, kind))
            except (ValueError, TypeError) as error:  # among them those of arrow
                raise ValueError(
                    f"rows {first} to {first + len(rows) - 1}: column {column} holds other values than before: {error}"
                ) from error
        return pa.table(arrays, names=list(self._types))


def _parse_numbers(values: list[str | None], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        for value in values:
            if value is not None:
                value.encode("utf-8")  # raises on what was no text in the file
        return pa.array(values, kind)
    parse: Callable[[str], int | float] = int if pa.types.is_integer(kind) else float
    return pa.array([None if value is None else parse(value) for value in values], kind)


def _infer_json(rows: Rows) -> dict[str, pa.DataType]:
    """Return the types of columns of JSON; values that have none in common are kept as JSON."""
    types: dict[str, pa.DataType] = {}
    while chunk := list(islice(rows, CHUNK)):
        columns = dict.fromkeys([*types, *(column for row in chunk for column in row)])
        for column in columns:
            before = types.get(column, pa.null())
            if before == pa.json_():
                continue
            try:
                found = pa.array([row.get(column) for row in chunk]).type
                types[column] = common_type(before, found)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
                types[column] = pa.json_()
    return {column: pa.string() if pa.types.is_null(kind) else kind for column, kind in types.items()}


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind != pa.json_():
        return pa.array(values, kind)
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.ExtensionArray.from_storage(kind, pa.array(texts, pa.string()))


def delimiter_of(builder: DatasetBuilder) -> str | None:
    """Return what separates values in the files of a library's own reader; nothing ("") for lines of JSON.

    None where that is another reader, or has settings of its own, as a hub dataset may have.
    """
    config = builder.config
    if type(builder) is Json:
        return "" if config.features is None and config.field is None else None
    if type(builder) is not Csv:
        return None
    usual = CsvConfig(name=config.name, data_files=config.data_files, sep=config.sep)
    plain = config.pd_read_csv_kwargs == usual.pd_read_csv_kwargs and len(config.sep) == 1
    return str(config.sep) if plain else None
