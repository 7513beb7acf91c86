"""One table of judgements, and the ids in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

QUERY_IDS = ("query-id", "query_id")
CORPUS_IDS = ("corpus-id", "corpus_id")
OWN_IDS = ("_id", "id")


@dataclass(frozen=True)
class Table:
    """Queries, corpus or qrels.

    Attributes:
        name: what it is called in messages: its file or configuration.
        rows: all its columns.
        folder: what relative paths in it are relative to.
    """

    name: str
    rows: Dataset
    folder: Path

    def column(self, key: str, names: tuple[str, ...]) -> list[Any]:
        """Return the values of the first of these columns that is there.

        Raises:
            DataError: none is.
        """
        name = next((name for name in names if name in self.rows.column_names), None)
        if name is None:
            raise DataError(
                f"datasets.{key}.path: {self.name} has no column {' or '.join(names)};"
                f" it has {', '.join(self.rows.column_names)}."
            )
        values: list[Any] = self.rows.select_columns([name])[:][name]
        return values

    def ids(self, key: str, names: tuple[str, ...]) -> list[str]:
        """Return the ids of the rows: text, one a row, each different.

        Raises:
            DataError: an id is missing, is no id, or stands there twice.
        """
        ids = texts(key, self.name, self.column(key, (*OWN_IDS, *names)))
        if len(set(ids)) < len(ids):
            first: dict[str, int] = {}
            row, again = next((row, value) for row, value in enumerate(ids) if first.setdefault(value, row) != row)
            raise DataError(
                f"datasets.{key}.path: {self.name}: the id {again} stands in rows {first[again]} and {row}."
                " Make ids unique."
            )
        return ids


def texts(key: str, table: str, values: list[Any]) -> list[str]:
    """Return ids as text, whichever of text and whole numbers they came as.

    Raises:
        DataError: one is neither; the message names its row.
    """
    for row, value in enumerate(values):
        if not isinstance(value, str | int) or value == "":
            found = "nothing" if value in (None, "") else type(value).__name__
            raise DataError(f"datasets.{key}.path: {table}, row {row}: an id is text or a number, found {found}.")
    return [str(value) for value in values]
