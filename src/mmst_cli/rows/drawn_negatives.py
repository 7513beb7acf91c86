"""Negatives drawn from what other rows hold, for rows whose own are too few: never a right answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmst_cli.config.schema import OnBadRow, Role
from mmst_cli.errors import ColumnError
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.row_keys import column_keys
from mmst_cli.rows.shapes import Numbers, drawn_from, entries_of
from mmst_cli.rows.stored_cells import column_chunks, empty_cells, empty_entries, place_of

_TRIES = 50  # draws for one place, before all documents that are left are looked at


@dataclass(frozen=True)
class Document:
    """What may be drawn: a document's content, the stored row it is in, and which entry; below 0 its positive's."""

    content: int
    row: int
    entry: int


class Pool:
    """The documents of all rows, each content once, and which of them can be no negative of a row.

    Args:
        rows: the rows.
        columns: a list of negatives, a column for each entry.
        positive: the stored column of positives that are drawn as well.
        lengths: how long the list of each drawn row is, shape (rows,).
    """

    def __init__(self, rows: RowSet, columns: list[Column], positive: str | None, lengths: Numbers) -> None:
        self.rows, self.name = rows, columns[0].sources[0]
        self.places, self.entries = drawn_from(rows)[0], entries_of(rows, positive)
        self._contents: dict[str, int] = {}
        self._of_columns = [self._number(column_keys(rows, column)) for column in columns]
        others = [column for column in rows.with_role(Role.negative) if column not in columns]
        self._of_others = [self._number(column_keys(rows, column)) for column in others]
        positives = rows.with_role(Role.positive)
        self._of_positives = {column: self._number(column_keys(rows, column)) for column in positives}
        self._anchors = column_keys(rows, rows.with_role(Role.anchor)[0])
        self.lengths = lengths
        documents: dict[int, Document] = {}
        drawn = next((column for column in positives if column.sources == (positive,)), None)
        for document in self._documents(drawn):
            documents.setdefault(document.content, document)
        self.documents = list(documents.values())
        self._answers: dict[str, set[int]] = {}
        for contents in self._of_positives.values():
            for anchor, content in zip(self._anchors, contents, strict=True):
                self._answers.setdefault(anchor, set()).add(content)

    def _number(self, keys: list[str]) -> list[int]:
        return [self._contents.setdefault(key, len(self._contents)) for key in keys]

    def _documents(self, positive: Column | None) -> Iterator[Document]:
        nothing: set[tuple[int, int]] = set()
        if self.rows.on_bad_row is OnBadRow.skip:
            chunks = column_chunks(self.rows.source, self.name)
            nothing = {(start + index, entry) for start, chunk in chunks for index, entry in empty_entries(chunk)}
        for entry, contents in enumerate(self._of_columns):
            for row in np.flatnonzero(self.lengths > entry).tolist():
                if (place := int(self.places[row]), entry) not in nothing:
                    yield Document(contents[row], place, entry)
        if positive is None:
            return
        chunks = column_chunks(self.rows.source, positive.sources[0])
        gone = {start + index for start, chunk in chunks for index in empty_cells(chunk)}
        for row, content in enumerate(self._of_positives[positive]):
            if (place := int(self.places[row])) not in gone:
                yield Document(content, place, -1 - int(self.entries[row]))

    def draw(self, missing: npt.NDArray[np.bool_], rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Return stored row and entry of a document for each place that is missing, row by row.

        None is a positive of any row with the same anchor, a negative that the row has, or drawn twice for it.

        Raises:
            DataError: no document is left for a row.
        """
        which, what = [], []
        for row in np.flatnonzero(missing.any(axis=1)).tolist():
            taken = set(self._answers[self._anchors[row]])
            taken |= {contents[row] for contents in self._of_columns[: int(self.lengths[row])]}
            taken |= {contents[row] for contents in self._of_others}
            for _ in range(int(missing[row].sum())):
                found = self._draw_one(row, taken, rng)
                taken.add(found.content)
                which.append(found.row)
                what.append(found.entry)
        return which, what

    def _draw_one(self, row: int, taken: set[int], rng: np.random.Generator) -> Document:
        for _ in range(_TRIES if self.documents else 0):
            found = self.documents[int(rng.integers(len(self.documents)))]
            if found.content not in taken:
                return found
        left = [document for document in self.documents if document.content not in taken]
        if left:
            return left[int(rng.integers(len(left)))]
        at = place_of(self.rows, int(self.places[row]), self.name)
        raise ColumnError(
            f"{at}: {int(self.lengths[row])} negatives, and other rows have too few documents to fill them up that"
            " aren't its own. Lower take, or set fill: repeat."
        )
