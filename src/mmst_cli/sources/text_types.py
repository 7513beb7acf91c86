"""What the columns of text files hold, found from their rows, and the rows in these types.

Of separated values, a column that isn't declared a text is numbers if each value is one that comes back as it was
written (1, -2.5; not 007, 1.50 or NA); for queries, if each is a number in decimal notation. A column of JSON whose
values have no type in common holds values of several kinds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterator
from itertools import islice
from typing import Any

import pyarrow as pa

from mmst_cli.sources.arrow_types import common_type
from mmst_cli.sources.declared_columns import DeclaredColumns
from mmst_cli.sources.text_rows import check_characters

CHUNK = 5000  # rows that become one batch
SHOWN = 60  # characters of a value in a message
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
Rows = Iterator[dict[str, Any]]
Types = dict[str, pa.DataType]


def infer_types(rows: Rows, declared: DeclaredColumns, *, separated: bool) -> Types:
    """Return the types of all columns of these rows: of separated values, or of JSON."""
    types = _infer_numbers(rows, declared) if separated else _infer_json(rows)
    return {column: pa.string() if pa.types.is_null(kind) else kind for column, kind in types.items()}


def _infer_numbers(rows: Rows, declared: DeclaredColumns) -> Types:
    kinds: Types = {}
    for row in rows:
        for column, cell in row.items():
            kind = kinds.setdefault(column, pa.string() if column in declared.texts else pa.null())
            if cell is not None and kind != pa.string():
                kinds[column] = _widen(kind, cell, column in declared.labels, declared.for_query)
    return kinds


def _widen(kind: pa.DataType, cell: str, is_label: bool, for_query: bool) -> pa.DataType:
    if is_label and cell.lstrip().startswith("["):
        return _list_type(kind, cell)
    if kind != pa.float64() and _WHOLE.fullmatch(cell):
        return pa.int64()
    try:
        number = float(cell)
    except ValueError:
        return pa.string()
    written = _NUMBER.fullmatch(cell) if for_query else str(number) == cell or _WHOLE.fullmatch(cell)
    return pa.float64() if is_label or written else pa.string()


def _list_type(kind: pa.DataType, cell: str) -> pa.DataType:
    """Return the type of labels that are lists of numbers, given as JSON; text where they aren't."""
    try:
        found = pa.array([_parse_list(cell)]).type
    except (ValueError, TypeError, pa.ArrowException):
        return pa.string()
    return found if pa.types.is_null(kind) or kind == found else pa.string()


def _parse_list(cell: str) -> Any:
    return json.loads(cell, parse_int=float)


def _infer_json(rows: Rows) -> Types:
    """Return the types of columns of JSON; values that have none in common are kept as JSON."""
    types: Types = {}
    while chunk := list(islice(rows, CHUNK)):
        columns = dict.fromkeys([*types, *(column for row in chunk for column in row)])
        for column in columns:
            before = types.get(column, pa.null())
            if before == pa.json_():
                continue
            try:
                types[column] = common_type(before, pa.array([row.get(column) for row in chunk]).type)
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
                types[column] = pa.json_()
    return types


def to_table(
    rows: list[dict[str, Any]], types: Types, first: int, *, separated: bool, unused: Container[str] = ()
) -> pa.Table:
    """Return rows as a table.

    Args:
        rows: the rows.
        types: of their columns, as :func:`infer_types` found them in these rows or in others.
        first: number of the first of the rows.
        separated: whether they are separated values, and not JSON.
        unused: columns in which nothing is taken where a value has another type.

    Raises:
        ValueError: a value has another type, as one behind those that the types were inferred from; names row and
            column.
    """
    make = _parse_numbers if separated else _to_array
    arrays = []
    for column, kind in types.items():
        values = [row.get(column) for row in rows]
        try:
            arrays.append(make(values, kind))
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            if column in unused:
                arrays.append(pa.nulls(len(rows), kind))
                continue
            raise ValueError(_fault(values, kind, make, first, column) or str(error)) from error
    return pa.table(arrays, names=list(types))


def _fault(values: list[Any], kind: pa.DataType, make: Callable[..., pa.Array], first: int, column: str) -> str | None:
    """Return which of the values can't be had in this type, and why not."""
    for place, value in enumerate(values):
        try:
            make([value], kind)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            is_text = isinstance(value, str) and pa.types.is_string(kind)
            why = str(error) if is_text else f"found {str(value)[:SHOWN]}, and the rows before hold {kind}"
            return f"row {first + place}, column {column}: {why}"
    return None


def _parse_numbers(values: list[str | None], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        for value in filter(None, values):
            check_characters(value)
        return pa.array(values, kind)
    parse: Callable[[str], Any] = int if pa.types.is_integer(kind) else float
    if pa.types.is_list(kind):
        parse = _parse_list
    return pa.array([None if value is None else parse(value) for value in values], kind)


def _to_array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if kind == pa.json_():
        texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        return pa.ExtensionArray.from_storage(kind, pa.array(texts, pa.string()))
    # Arrow makes 0 of 0.5 where whole numbers are asked for.
    if not pa.types.is_string(kind) and common_type(kind, pa.array(values).type) != kind:
        raise ValueError("values of several types")
    return pa.array(values, kind)
