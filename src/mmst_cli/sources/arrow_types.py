"""Columns of Arrow tables in types that `datasets` has, whatever else stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as pq
from datasets import Array2D, ArrowBasedBuilder, Features
from datasets.packaged_modules.arrow.arrow import Arrow
from datasets.packaged_modules.parquet.parquet import Parquet
from datasets.table import table_cast
from datasets.utils.file_utils import xopen

from mmst_cli.sources.declared_columns import DeclaredColumns

_OWN = type(Array2D((1, 1), "int8")()).__mro__[1]  # the extension types of `datasets` itself


def known_type(kind: pa.DataType) -> pa.DataType | None:
    """Return the nearest type that `datasets` has: text for any kind of string, numbers for decimals; None for none."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 else pa.float64()
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return known_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, _OWN) and kind != pa.json_():
        return known_type(kind.storage_type)
    if pa.types.is_nested(kind):
        return _known_nested(kind)
    try:
        Features.from_arrow_schema(pa.schema([("column", kind)]))
    except (ValueError, TypeError, NotImplementedError):
        return None
    return kind


def _known_nested(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_struct(kind):
        types = [known_type(field.type) for field in kind]
        fields = [field.with_type(inner) for field, inner in zip(kind, types, strict=True) if inner is not None]
        return pa.struct(fields) if len(fields) == len(types) else None
    if pa.types.is_map(kind) or pa.types.is_union(kind) or (inner := known_type(kind.value_type)) is None:
        return None
    if inner == kind.value_type and not (pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)):
        return kind
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(inner, kind.list_size)
    is_large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    return pa.large_list(inner) if is_large else pa.list_(inner)


def cast_column(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in the type that :func:`known_type` gave for its own."""
    if column.type == kind:
        return column
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_run_end_encoded(column.type):
        column = pa.chunked_array(map(compute.run_end_decode, column.chunks), column.type.value_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if "list_view" in str(column.type):  # what Arrow makes of it is one offset short
        return pa.chunked_array([pa.array(chunk.to_pylist(), kind) for chunk in column.chunks], kind)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:  # whole numbers above what 64 bits hold
        return column.cast(pa.float64())


def _check_texts(name: str, column: pa.ChunkedArray) -> None:
    """Check that texts are UTF-8, whatever the file says: reading one would fail without a word about where."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"column {name} is damaged: {error}") from error


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the type that holds both: numbers for whole numbers and others, structures with the fields of both.

    Raises:
        pyarrow.ArrowInvalid: there is none.
    """
    schemas = [pa.schema([("value", kind)]) for kind in (first, second)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("value").type


class KnownTypes(ArrowBasedBuilder):  # type: ignore[misc]
    """Reads files whose columns may be of any type, and need not be the same in all files.

    A column that has no type in `datasets`, or none that its files have in common, is left out unless it is declared.
    Of a stream only the first file's types are known; where another has something else, such a column is empty.
    """

    declared = DeclaredColumns()
    documented: Mapping[str, Any] = {}
    """The features that the dataset itself says its columns have."""

    def _split_generators(self, dl_manager: Any) -> Any:
        self._streams = dl_manager.is_streaming
        files = [file for listed in dl_manager.download(self.config.data_files).values() for file in listed]
        schemas = [self._schema_of(file) for file in (files[:1] if dl_manager.is_streaming else files)]
        types = self._types(schemas)
        metadata = schemas[0].metadata if schemas else None
        fields = [(name, kind) for name, kind in types.items() if kind is not None]
        features = Features.from_arrow_schema(pa.schema(fields, metadata))
        features.update({name: feature for name, feature in self.documented.items() if name in features})
        self.info.features = features
        return super()._split_generators(dl_manager)

    def _types(self, schemas: Iterable[pa.Schema]) -> dict[str, pa.DataType | None]:
        types: dict[str, pa.DataType | None] = {}
        for field in (field for schema in schemas for field in schema):
            found = self._type_of(field)
            before = types.setdefault(field.name, found)
            if found is not None and before is not None and found != before:
                try:
                    found = common_type(before, found)
                except pa.ArrowException:
                    if field.name in self.declared.names:
                        raise ValueError(
                            f"column {field.name} holds {before} in one file and {found} in another"
                        ) from None
                    found = None
            types[field.name] = found if before is not None else None
        return types

    def _type_of(self, field: pa.Field) -> pa.DataType | None:
        if field.name in self.declared.names:
            return known_type(field.type)
        return pa.float64() if pa.types.is_decimal(field.type) else known_type(field.type)  # however large

    def _cast_table(self, table: pa.Table) -> pa.Table:
        columns = {name: self._cast_column(table, name) for name in self.info.features}
        return pa.table(columns, schema=self.info.features.arrow_schema)

    def _cast_column(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        nothing = pa.chunked_array([pa.nulls(len(table))])
        wanted = Features({name: self.info.features[name]}).arrow_schema
        if name not in table.column_names:
            return table_cast(pa.table({name: nothing}), wanted).column(0)
        column = table.column(name)
        try:
            known = cast_column(column, known_type(column.type) or column.type)
            if name in self.declared.names:
                _check_texts(name, known)
            return table_cast(pa.table({name: known}), wanted).column(0)
        except (ValueError, TypeError, pa.ArrowException):
            if not self._streams or name in self.declared.names:
                raise
            return table_cast(pa.table({name: nothing}), wanted).column(0)

    def _schema_of(self, file: str) -> pa.Schema:
        """Return what the columns of a file are, on this machine or elsewhere."""
        raise NotImplementedError


class KnownParquet(KnownTypes, Parquet):  # type: ignore[misc]
    """Parquet files."""

    def _schema_of(self, file: str) -> pa.Schema:
        with xopen(file, "rb") as opened:
            return pq.read_schema(opened)


class KnownArrow(KnownTypes, Arrow):  # type: ignore[misc]
    """Files in Arrow's own formats."""

    def _schema_of(self, file: str) -> pa.Schema:
        with xopen(file, "rb") as opened:
            try:
                return pa.ipc.open_stream(opened).schema
            except (OSError, pa.ArrowInvalid):
                return pa.ipc.open_file(opened).schema
