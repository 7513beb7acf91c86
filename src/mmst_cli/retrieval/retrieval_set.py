"""Queries, corpus and relevance for retrieval: what evaluation reads, and how rows give it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

from mmst_cli.config.schema import Modality, Role
from mmst_cli.rows.columns import ENTRY, ROW, Column, RowSet, named_file, place
from mmst_cli.rows.row_keys import column_keys
from mmst_cli.rows.stored_inputs import StoredInput, stored_inputs


class RetrievalSet(ABC):
    """Queries, a corpus, and which documents answer which queries.

    The corpus is the first document column from its first row to its last, then the second, and so on.

    Args:
        query_rows: rows with the anchor column.
        corpus_rows: rows with the columns of documents; may be the same.

    Attributes:
        notes: sentences about what was left out, to be printed.
    """

    def __init__(self, query_rows: RowSet, corpus_rows: RowSet) -> None:
        self.query_rows, self.corpus_rows = query_rows, corpus_rows
        self.anchor = query_rows.with_role(Role.anchor)[0]
        self.documents = corpus_rows.with_role(Role.positive, Role.negative)
        self.notes: list[str] = []

    @property
    @abstractmethod
    def query_ids(self) -> list[str]:
        """One id a query, in the order of :meth:`queries`."""

    @property
    @abstractmethod
    def corpus_ids(self) -> list[str]:
        """One id a document, in the order of :meth:`corpus`."""

    @property
    @abstractmethod
    def relevant(self) -> dict[str, dict[str, int]]:
        """Query id to the ids of the documents that answer it, each with its grade: a whole number above 0."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that are read: the anchor, then the documents."""
        return self.anchor, *self.documents

    def queries(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each query, decoded one at a time."""
        return ((one.column.modality, one.read()) for one in self.query_inputs())

    def corpus(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each document, decoded one at a time."""
        return ((one.column.modality, one.read()) for one in self.corpus_inputs())

    def query_inputs(self) -> Iterator[StoredInput]:
        """Yield the queries unread, in their order."""
        return stored_inputs(self.query_rows, self.anchor)

    def corpus_inputs(self) -> Iterator[StoredInput]:
        """Yield the documents unread, in their order."""
        return (one for column in self.documents for one in stored_inputs(self.corpus_rows, column))

    def query_at(self, index: int) -> tuple[Modality, Any]:
        """Return (modality, value) of the query with ``query_ids[index]``."""
        return self.anchor.modality, self.query_rows.value_at(self.anchor, index)

    def document_at(self, index: int) -> tuple[Modality, Any]:
        """Return (modality, value) of the document with ``corpus_ids[index]``."""
        column, row = divmod(index, len(self.corpus_rows))
        return self.documents[column].modality, self.corpus_rows.value_at(self.documents[column], row)

    def place_of_query(self, index: int) -> str:
        """Return where the query with ``query_ids[index]`` stands, for messages."""
        return self._place(self.query_rows, self.anchor, index)

    def place_of_document(self, index: int) -> str:
        """Return where the document with ``corpus_ids[index]`` stands, for messages."""
        column, row = divmod(index, len(self.corpus_rows))
        return self._place(self.corpus_rows, self.documents[column], row)

    def _place(self, rows: RowSet, column: Column, row: int) -> str:
        return place(rows.key, rows.find(rows.rows[row], column.origin).get(ROW), column.name)


class RowRetrieval(RetrievalSet):
    """Anchors are queries; positives, then negatives, are the corpus; a row's positives answer its anchor.

    All rows of an anchor are one query: those that lists of positives or pages of documents became, and those that
    repeat what it asks, so that the other answers to it don't count as misses.
    """

    def __init__(self, rows: RowSet) -> None:
        super().__init__(rows, rows)
        self._drawn: dict[str, list[int]] = rows.rows.select_columns([ROW, ENTRY])[:] if rows.stored is not None else {}

    @cached_property
    def _rows_of(self) -> list[list[int]]:
        """The rows of each query, in the order of their first ones."""
        keys: list[Any] = column_keys(self.query_rows, self.anchor)
        if self._drawn:  # the entries of a list have one anchor, whatever each of them is
            of_origin: dict[int, Any] = {}
            keys = [of_origin.setdefault(origin, key) for origin, key in zip(self._drawn[ROW], keys, strict=True)]
        rows_of: dict[Any, list[int]] = {}
        for row, key in enumerate(keys):
            rows_of.setdefault(key, []).append(row)
        return list(rows_of.values())

    @property
    def _anchors(self) -> list[int]:
        """The first row of each query."""
        return [rows[0] for rows in self._rows_of]

    @cached_property
    def repeats(self) -> int:
        """How many stored rows ask what an earlier one asks, and are further answers to it."""
        stored = set(self._drawn[ROW]) if self._drawn else range(len(self.query_rows))
        return len(stored) - len(self._rows_of)

    def query_inputs(self) -> Iterator[StoredInput]:
        """Yield the queries unread, each as it stands first."""
        if len(self._rows_of) == len(self.query_rows):
            return super().query_inputs()
        return stored_inputs(replace(self.query_rows, rows=self.query_rows.rows.select(self._anchors)), self.anchor)

    def query_at(self, index: int) -> tuple[Modality, Any]:
        """Return (modality, value) of the query with ``query_ids[index]``."""
        return super().query_at(self._rows_of[index][0])

    def place_of_query(self, index: int) -> str:
        """Return where the query with ``query_ids[index]`` stands first, for messages."""
        return super().place_of_query(self._rows_of[index][0])

    @cached_property
    def query_ids(self) -> list[str]:
        """One id a query: ``q`` and its row."""
        return [f"q{self._drawn[ROW][row] if self._drawn else row}" for row in self._anchors]

    @cached_property
    def corpus_ids(self) -> list[str]:
        """One id a document: its file and page where it is one of a document's, else its column and row."""
        return [self._name(column, row) for column in self.documents for row in range(len(self.corpus_rows))]

    def _name(self, column: Column, row: int) -> str:
        if not self._drawn:
            return f"{column.name}:{row}"
        origin, entry = self._drawn[ROW][row], self._drawn[ENTRY][row]
        if column.sources != (self.corpus_rows.listed,):
            return f"{column.name}:{origin}.{entry}"
        return self._pages.get(row) or f"{column.name}:{origin}.{entry}"

    @cached_property
    def _pages(self) -> dict[int, str]:
        """Row to `file.pdf#page`, of the pages that are there once."""
        rows, listed = self.corpus_rows, self.corpus_rows.listed
        if rows.stored is None or listed is None:
            return {}
        files = [named_file(row[listed]) for row in rows.stored.select_columns([listed])]
        entries = zip(self._drawn[ROW], self._drawn[ENTRY], strict=True)
        names = [f"{file}#{entry}" if (file := files[origin]) and entry else "" for origin, entry in entries]
        counts = Counter(names)
        return {row: name for row, name in enumerate(names) if name and counts[name] == 1}

    @cached_property
    def relevant(self) -> dict[str, dict[str, int]]:
        """Query id to the ids of its rows' positives, each of grade 1."""
        count = len(self.corpus_rows)
        places = [place for place, column in enumerate(self.documents) if column.role is Role.positive]
        return {
            query: {self.corpus_ids[place * count + row]: 1 for place in places for row in rows}
            for query, rows in zip(self.query_ids, self._rows_of, strict=True)
        }


class Deduplicator:
    """Finds the distinct documents: those stored alike are read once, and those that are the same once read are one.

    It keeps digests of 16 bytes and indices, never a document.

    Attributes:
        first_of: for each document, the place of its content among the distinct ones; once all were read.
        read_as: for each document, the place among those that were read of the one that is stored alike.
    """

    def __init__(self) -> None:
        self.first_of: list[int] = []
        self.read_as: list[int] = []
        self._places: dict[bytes, int] = {}

    def distinctly_stored(self, documents: Iterable[StoredInput]) -> Iterator[StoredInput]:
        """Yield each document that isn't stored as an earlier one is."""
        for document in documents:
            distinct = len(self._places)
            place = self._places.setdefault(document.identity(), distinct)
            self.read_as.append(place)
            if place == distinct:
                yield document

    def index_of(self, place: int) -> int:
        """Return which document was the one at a place among those that were read."""
        return self.read_as.index(place)

    def settle(self, digests: Iterable[bytes]) -> list[int]:
        """Return the places, among the documents that were read, of those whose content no earlier one has.

        Args:
            digests: of the decoded content of each that was read.
        """
        distinct: dict[bytes, int] = {}
        kept: list[int] = []
        content_of: list[int] = []
        for index, digest in enumerate(digests):
            content_of.append(distinct.setdefault(digest, len(distinct)))
            if content_of[-1] == len(kept):
                kept.append(index)
        self.first_of = [content_of[index] for index in self.read_as]
        return kept
