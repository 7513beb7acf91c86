"""Queries, corpus and relevance for retrieval: what evaluation reads, and how rows give it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from mmst_cli.config.schema import Modality, Role
from mmst_cli.data.columns import Column, RowSet


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

    @property
    def modalities(self) -> set[Modality]:
        """The modalities of queries and documents."""
        return {column.modality for column in self.columns}

    def queries(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each query, decoded one at a time."""
        return ((self.anchor.modality, value) for value in self.query_rows.values(self.anchor))

    def corpus(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each document, decoded one at a time."""
        return ((column.modality, value) for column in self.documents for value in self.corpus_rows.values(column))

    def query_at(self, index: int) -> tuple[Modality, Any]:
        """Return (modality, value) of the query with ``query_ids[index]``."""
        return self.anchor.modality, self.query_rows.value_at(self.anchor, index)

    def document_at(self, index: int) -> tuple[Modality, Any]:
        """Return (modality, value) of the document with ``corpus_ids[index]``."""
        place, row = divmod(index, len(self.corpus_rows))
        return self.documents[place].modality, self.corpus_rows.value_at(self.documents[place], row)


class RowRetrieval(RetrievalSet):
    """Anchors are queries; positives, then negatives, are the corpus; a row's positives answer its anchor."""

    def __init__(self, rows: RowSet) -> None:
        super().__init__(rows, rows)

    @cached_property
    def query_ids(self) -> list[str]:
        """One id a query: ``q`` and its row."""
        return [f"q{row}" for row in range(len(self.query_rows))]

    @cached_property
    def corpus_ids(self) -> list[str]:
        """One id a document: its column and row."""
        return [f"{column.name}:{row}" for column in self.documents for row in range(len(self.corpus_rows))]

    @cached_property
    def relevant(self) -> dict[str, dict[str, int]]:
        """Query id to the ids of its row's positives, each of grade 1."""
        positives = self.query_rows.with_role(Role.positive)
        return {query: {f"{column.name}:{row}": 1 for column in positives} for row, query in enumerate(self.query_ids)}
