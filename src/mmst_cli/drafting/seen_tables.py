"""Tables by the first of their rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.drafting.column_contents import Contents, contents_of
from mmst_cli.errors import DataError
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.sources.row_files import RowsInTurn, open_rows_in_turn

LOOKED_AT = 100  # rows
MANY = 21  # values from which on a column holds no classes
_SECTION = "FROM"  # stands for the section of a config in what the rooms below say


@dataclass(frozen=True)
class SeenTable:
    """What the columns of a table hold."""

    columns: list[Contents]
    rows: int | None
    """How many there are; None where only reading would tell."""
    looked_at: int
    """How many were looked at."""


def see_table(section: DatasetConfig, folder: Path) -> SeenTable:
    """Look at the first rows of a table.

    Args:
        section: says where it is.
        folder: what relative paths in it are relative to.

    Raises:
        DataError: it isn't there, or can't be read.
    """
    with _said_of_option():
        table = open_rows_in_turn(_SECTION, section)
        rows = list(_first_rows(table))
    names = dict.fromkeys([*table.types, *(name for row in rows for name in row)])
    columns = [contents_of(name, [row.get(name) for row in rows], folder, table.noted.get(name)) for name in names]
    count = len(rows) if table.count is None and len(rows) < LOOKED_AT else table.count
    return SeenTable(columns, count, len(rows))


def distinct_values(section: DatasetConfig, name: str) -> list[Any]:
    """Return the different values of a column, numbers as numbers, in all rows; MANY are enough."""
    found: dict[Any, None] = {}
    with _said_of_option():
        for row in _readable(open_rows_in_turn(_SECTION, section).rows([name])):
            if (value := row.get(name)) not in (None, ""):
                found[_as_number(value)] = None
            if len(found) == MANY:
                break
    return sorted(found, key=lambda value: (str(type(value)), value))


def _as_number(value: Any) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return int(number) if number.is_integer() else number


def _first_rows(table: RowsInTurn) -> Iterator[dict[str, Any]]:
    """Yield the first rows, but for those that can't be read: what reads all says so."""
    yield from _readable(islice(table.rows(list(table.types)), LOOKED_AT))


def _readable(rows: Iterator[Callable[[], dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that can be read."""
    for unread in rows:
        try:
            row = unread()
        except Exception as error:  # whatever the library of the table raises
            if not concerns_input(error):
                raise
            continue
        if isinstance(row, dict):
            yield row


@contextmanager
def _said_of_option() -> Iterator[None]:
    """Raise what is said about a section of a config as it is said of the option."""
    try:
        yield
    except DataError as error:
        said = str(error).replace(f"datasets.{_SECTION}.path", "--from")
        raise DataError(re.sub(rf"\bdatasets\.{_SECTION}\.(\w+)", r"--\1", said)) from error
