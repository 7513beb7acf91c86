"""Judgements as people have them: a corpus, queries and qrels in layout beir, ready to evaluate on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmst_cli.config.rules_datasets import TABLE_OF
from mmst_cli.config.schema import DatasetConfig, MediaConfig, Modality, Role
from mmst_cli.errors import ConfigError, did_you_mean
from mmst_cli.media.reading import Reader
from mmst_cli.retrieval.beir import Tables, load_tables
from mmst_cli.retrieval.qrels import CORPUS_IDS, QUERY_IDS, TITLE, Table, read_grades
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.rows.cells import is_text
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.row_checks import check_inputs
from mmst_cli.rows.row_preparation import declare, keep_columns, number_rows
from mmst_cli.sources.tables import choose_indices


class JudgedRetrieval(RetrievalSet):
    """Queries and a corpus of their own, with graded judgements between them.

    Args:
        query_rows: the queries, all of them answered by a document.
        query_ids: one a row.
        corpus_rows: the documents; a row with several document columns is several documents.
        corpus_row_ids: one a row.
        grades: query id to the ids of the corpus rows that answer it, each with its grade above 0.
        notes: sentences about what was left out.
    """

    def __init__(
        self,
        query_rows: RowSet,
        query_ids: list[str],
        corpus_rows: RowSet,
        corpus_row_ids: list[str],
        grades: dict[str, dict[str, int]],
        notes: list[str],
    ) -> None:
        super().__init__(query_rows, corpus_rows)
        self.notes = notes
        self._query_ids, self._corpus_ids, self._relevant = query_ids, corpus_row_ids, grades
        if len(self.documents) > 1:
            self._corpus_ids = [f"{column.name}:{row}" for column in self.documents for row in corpus_row_ids]
            self._relevant = {
                query: {f"{column.name}:{row}": grade for row, grade in rows.items() for column in self.documents}
                for query, rows in grades.items()
            }

    @property
    def query_ids(self) -> list[str]:
        """One id a query, as the queries have them."""
        return self._query_ids

    @property
    def corpus_ids(self) -> list[str]:
        """One id a document, as the corpus has them, after the column's name where there are several."""
        return self._corpus_ids

    @property
    def relevant(self) -> dict[str, dict[str, int]]:
        """Query id to the ids of the documents that answer it, each with its grade: a whole number above 0."""
        return self._relevant


@dataclass(frozen=True)
class TitledRows(RowSet):
    """Rows of a corpus whose texts are read after their title, as BEIR embeds them."""

    text: Column | None = None

    def needed_by(self, column: Column) -> tuple[str, ...]:
        """Return the stored columns that reading a column needs."""
        return (*column.sources, TITLE) if column == self.text else column.sources

    def completed(self, column: Column, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a stored row whose text stands after its title."""
        (text,) = column.sources if column == self.text else (None,)
        if text is None or not isinstance(row[text], str):
            return row
        return {**row, text: _titled(row[TITLE], row[text])}


def _titled(title: str | None, text: str) -> str:
    return f"{title} {text}".strip() if title and title.strip() else text


def prepare_judgements(
    key: str, config: DatasetConfig, seed: int = 0, media: MediaConfig | None = None, *, look: bool = True
) -> JudgedRetrieval:
    """Load a dataset section of layout beir, and check real rows against the declaration.

    Args:
        key: name of the section under ``datasets``.
        config: the section.
        seed: chooses queries for ``max_rows`` and rows for the check.
        media: how media are read.
        look: look at inputs, all of them quickly and some in full; any may be broken otherwise.

    Raises:
        ConfigError: a declared column isn't there.
        DataError: a table can't be loaded, isn't what is declared, or the tables don't belong together.
    """
    tables = load_tables(key, config)
    _check_columns(key, config, tables)
    query_ids, corpus_ids = tables.queries.ids(key, QUERY_IDS), tables.corpus.ids(key, CORPUS_IDS)
    grades, notes = read_grades(key, tables.qrels, query_ids, corpus_ids)
    media = media or MediaConfig()
    queries = _open_rows(key, config, tables.queries, Role.anchor, media)
    corpus = _open_rows(key, config, tables.corpus, Role.positive, media)
    if look:
        check_inputs(queries, seed)
        check_inputs(corpus, seed)
    answered = [row for row, query in enumerate(query_ids) if grades.get(query)]
    chosen = [answered[index] for index in choose_indices(len(answered), config.max_rows, seed)]
    ids = [query_ids[row] for row in chosen]
    if len(chosen) < len(queries):
        queries = replace(queries, rows=queries.rows.select(chosen))
    return JudgedRetrieval(queries, ids, corpus, corpus_ids, {query: grades[query] for query in ids}, notes)


def _declared(config: DatasetConfig, role: Role, names: Sequence[str]) -> list[Column]:
    """Return the columns of a role, read from their table, where `corpus/text` may stand for its `text`.

    They keep the names they are declared with, so that messages name them as the config does.
    """
    prefix = f"{TABLE_OF[role]}/"

    def in_table(source: str) -> str:
        return source if source in names else source.removeprefix(prefix)

    columns = [declare(name, section) for name, section in config.columns.items() if section.role is role]
    return [
        replace(
            column,
            sources=tuple(in_table(source) for source in column.sources),
            parts=tuple((modality, in_table(source)) for modality, source in column.parts),
        )
        for column in columns
    ]


def _check_columns(key: str, config: DatasetConfig, tables: Tables) -> None:
    missing = []
    for role, table in ((Role.anchor, tables.queries), (Role.positive, tables.corpus)):
        names = table.rows.column_names
        missing += [
            f"datasets.{key}.columns.{column.name}: no such column; {table.name} has {', '.join(names)}."
            + did_you_mean(source, names)
            for column in _declared(config, role, names)
            for source in column.sources
            if source not in names
        ]
    if missing:
        raise ConfigError(*missing)


def _open_rows(key: str, config: DatasetConfig, table: Table, role: Role, media: MediaConfig) -> RowSet:
    columns = _declared(config, role, table.rows.column_names)
    text = next((c for c in columns if c.sources == ("text",) and c.modality is Modality.text), None)
    titled = (
        text is not None
        and role is Role.positive
        and all(TITLE not in column.sources for column in columns)
        and TITLE in table.rows.column_names
        and is_text(table.rows.features[TITLE])
    )
    reader = Reader(media, table.folder, config.allow_urls)
    rows = keep_columns(key, number_rows(key, table.rows), columns, reader, also=[TITLE] if titled else [])
    return TitledRows(key, rows.rows, rows.columns, reader, text=text) if titled else rows
