"""Inputs as rows store them: what another process needs to read one, and what tells it apart undecoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import Column, RowSet, as_input, read_cells
from mmst_cli.rows.row_keys import stored_identity


@dataclass(frozen=True)
class StoredInput:
    """One input of one row, not read yet. It can be pickled."""

    key: str
    """The dataset, for messages."""
    column: Column
    row: Mapping[str, Any]
    """The stored cells that the column is read from."""
    reader: Reader

    @property
    def size(self) -> int | None:
        """How many characters a text has; None where only reading tells the size of an input."""
        cell = self.row.get(self.column.sources[0]) if len(self.column.sources) == 1 else None
        return len(cell) if isinstance(cell, str) and self.column.modality is Modality.text else None

    @property
    def weight(self) -> int:
        """What the cells weigh that weigh anything: texts and content, in bytes."""
        return sum(_weight(self.row[source]) for source in self.column.sources)

    def read(self) -> Any:
        """Return the input, decoded.

        Raises:
            DataError: it can't be read; the message names dataset, row and column.
        """
        return read_cells(self.key, self.column, self.row, self.reader)

    def identity(self) -> bytes:
        """Return 16 bytes that only the same stored content has, whatever its row; a file is known by its name."""
        return stored_identity(self.column, self.row)


def stored_inputs(rows: RowSet, column: Column) -> Iterator[StoredInput]:
    """Yield what the rows store of a column, one at a time."""
    narrow = rows.narrow(column)
    for row in narrow.rows:
        cells = narrow.completed(column, narrow.find(row, column.origin))
        yield StoredInput(rows.key, column, cells, rows.reader)


def read_input(stored: StoredInput) -> tuple[Any, None]:
    """Return a model input, read, and nothing noted of it."""
    return as_input(stored.read(), stored.column.modality), None


def _weight(cell: Any) -> int:
    if isinstance(cell, Mapping):
        return sum(map(_weight, cell.values()))
    if isinstance(cell, list):
        return sum(map(_weight, cell))
    return len(cell) if isinstance(cell, str | bytes) else 8
