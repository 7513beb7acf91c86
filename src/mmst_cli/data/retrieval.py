"""Queries, corpus and relevance for retrieval, read from columns with roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.schema import Modality, Role
from mmst_cli.data.columns import Column, RowSet


@dataclass(frozen=True)
class RetrievalSet:
    """Anchors are queries; positives, then negatives, are the corpus; a row's positives answer its anchor."""

    rows: RowSet

    @property
    def anchor(self) -> Column:
        """The column of the queries."""
        return self.rows.with_role(Role.anchor)[0]

    @property
    def documents(self) -> list[Column]:
        """The columns of the corpus, positives first."""
        return self.rows.with_role(Role.positive, Role.negative)

    @property
    def query_ids(self) -> list[str]:
        """One id a query: ``q`` and its row."""
        return [f"q{row}" for row in range(len(self.rows))]

    @property
    def corpus_ids(self) -> list[str]:
        """One id a document: its column and row, in the order of :meth:`corpus`."""
        return [f"{column.name}:{row}" for column in self.documents for row in range(len(self.rows))]

    @property
    def relevant(self) -> dict[str, set[str]]:
        """Query id to the ids of the documents that answer it."""
        positives = self.rows.with_role(Role.positive)
        return {f"q{row}": {f"{column.name}:{row}" for column in positives} for row in range(len(self.rows))}

    def queries(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each query, decoded one at a time."""
        return ((self.anchor.modality, value) for value in self.rows.values(self.anchor))

    def corpus(self) -> Iterator[tuple[Modality, Any]]:
        """Yield (modality, value) of each document, decoded one at a time."""
        return ((column.modality, value) for column in self.documents for value in self.rows.values(column))
