"""Columns of Arrow tables in types that `datasets` has, whatever else stands beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Array2D, Features
from datasets.packaged_modules.parquet.parquet import Parquet, ParquetConfig
from datasets.utils.file_utils import xopen

_OWN = type(Array2D((1, 1), "int8")()).__mro__[1]  # the extension types of `datasets` itself


def known_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the nearest type that `datasets` has: text for any kind of string, numbers for decimals; None for none."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 else pa.float64()
    if pa.types.is_dictionary(kind):
        return known_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, _OWN) and kind != pa.json_():
        return known_type(kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        inner = known_type(kind.value_type)
        return None if inner is None else kind if inner == kind.value_type else pa.list_(inner)
    try:
        Features.from_arrow_schema(pa.schema([("column", kind)]))
    except (ValueError, TypeError, NotImplementedError):
        return None
    return kind


def cast_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in the type that :func:`known_type` gave for its own."""
    if column.type == kind:
        return column
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:  # whole numbers above what 64 bits hold
        return column.cast(pa.float64())


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the type that holds both: numbers for whole numbers and others, structures with the fields of both.

    Raises:
        pyarrow.ArrowInvalid: there is none.
    """
    schemas = [pa.schema([("value", kind)]) for kind in (first, second)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("value").type


@dataclass
class KnownParquetConfig(ParquetConfig):  # type: ignore[misc]
    """How the files are read."""

    declared: tuple[str, ...] = ()
    """Columns that are used, and so must have a type."""


class KnownParquet(Parquet):  # type: ignore[misc]
    """Parquet files whose columns may be of any type, and need not be the same in all files.

    A column that has no type in `datasets`, or none that its files have in common, is left out unless it is declared.
    """

    BUILDER_CONFIG_CLASS = KnownParquetConfig

    def _split_generators(self, dl_manager: Any) -> Any:
        files = [file for listed in dl_manager.download(self.config.data_files).values() for file in listed]
        schemas = [_schema_of(file) for file in (files[:1] if dl_manager.is_streaming else files)]
        types = self._types(schemas)
        metadata = schemas[0].metadata if schemas else None
        fields = [(name, kind) for name, kind in types.items() if kind is not None]
        self.info.features = Features.from_arrow_schema(pa.schema(fields, metadata))
        return super()._split_generators(dl_manager)

    def _types(self, schemas: Iterable[pa.Schema]) -> dict[str, pa.DataType | None]:
        types: dict[str, pa.DataType | None] = {}
        for field in (field for schema in schemas for field in schema):
            found = known_type(field.type)
            before = types.setdefault(field.name, found)
            if found is not None and before is not None and found != before:
                try:
                    found = common_type(before, found)
                except pa.ArrowException:
                    if field.name in self.config.declared:
                        raise ValueError(
                            f"column {field.name} holds {before} in one file and {found} in another"
                        ) from None
                    found = None
            types[field.name] = found if before is not None else None
        return types

    def _cast_table(self, table: pa.Table) -> pa.Table:
        columns = {}
        for name in self.info.features:
            if name in table.column_names:
                column = table.column(name)
                columns[name] = cast_column(column, known_type(column.type) or column.type)
            else:
                columns[name] = pa.chunked_array([pa.nulls(len(table))])
        return super()._cast_table(pa.table(columns))


def _schema_of(file: str) -> pa.Schema:
    with xopen(file, "rb") as opened:
        return pq.read_schema(opened)
