"""Judgements as people have them: a corpus, queries and qrels in layout beir, ready to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.rules_data import TABLE_OF
from mmst_cli.config.schema import DatasetConfig, Modality, Role
from mmst_cli.data.beir import Tables, load_tables
from mmst_cli.data.columns import Column, RowSet, prepare_columns
from mmst_cli.data.qrels import read_grades
from mmst_cli.data.retrieval import RetrievalSet
from mmst_cli.data.sources import choose_indices
from mmst_cli.data.tables import CORPUS_IDS, QUERY_IDS, Table
from mmst_cli.errors import ConfigError, did_you_mean

TITLE = "title"


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

    text: Column

    def values(self, column: Column) -> Iterator[Any]:
        """Yield the values of a column one at a time, texts after their title."""
        if column != self.text:
            yield from super().values(column)
            return
        for row in self.rows.select_columns([TITLE, column.name]):
            yield _titled(row[TITLE], row[column.name])

    def value_at(self, column: Column, row: int) -> Any:
        """Return one value of a column, a text after its title."""
        value = super().value_at(column, row)
        return _titled(self.rows.select_columns([TITLE])[row][TITLE], value) if column == self.text else value


def _titled(title: str | None, text: str) -> str:
    return f"{title} {text}".strip() if title and title.strip() else text


def prepare_judgements(key: str, config: DatasetConfig, seed: int = 0) -> JudgedRetrieval:
    """Load a dataset section of layout beir, and check real rows against the declaration.

    Args:
        key: name of the section under ``datasets``.
        config: the section.
        seed: chooses queries for ``max_rows`` and rows for the check.

    Raises:
        ConfigError: a declared column isn't there.
        DataError: a table can't be loaded, isn't what is declared, or the tables don't belong together.
    """
    tables = load_tables(key, config)
    _check_columns(key, config, tables)
    query_ids, corpus_ids = tables.queries.ids(key, QUERY_IDS), tables.corpus.ids(key, CORPUS_IDS)
    grades, notes = read_grades(key, tables.qrels, query_ids, corpus_ids)
    queries = _prepare_rows(key, config, tables.queries, Role.anchor, seed)
    corpus = _prepare_rows(key, config, tables.corpus, Role.positive, seed)
    answered = [row for row, query in enumerate(query_ids) if grades.get(query)]
    chosen = [answered[index] for index in choose_indices(len(answered), config.max_rows, seed)]
    ids = [query_ids[row] for row in chosen]
    if len(chosen) < len(queries):
        queries = RowSet(key, queries.rows.select(chosen), queries.columns)
    return JudgedRetrieval(queries, ids, corpus, corpus_ids, {query: grades[query] for query in ids}, notes)


def _declared(config: DatasetConfig, role: Role, names: Sequence[str]) -> dict[str, Column]:
    """Return the columns of a role by their name in the table, where `corpus/text` may stand as `text`.

    The columns keep the names they are declared with, so that messages name them as the config does.
    """
    declared = [Column(name, role, column.modality) for name, column in config.columns.items() if column.role is role]
    prefix = f"{TABLE_OF[role]}/"
    return {c.name if c.name in names else c.name.removeprefix(prefix): c for c in declared}


def _check_columns(key: str, config: DatasetConfig, tables: Tables) -> None:
    missing = []
    for role, table in ((Role.anchor, tables.queries), (Role.positive, tables.corpus)):
        names = table.rows.column_names
        missing += [
            f"datasets.{key}.columns.{column.name}: no such column; {table.name} has {', '.join(names)}."
            + did_you_mean(name, names)
            for name, column in _declared(config, role, names).items()
            if name not in names
        ]
    if missing:
        raise ConfigError(*missing)


def _prepare_rows(key: str, config: DatasetConfig, table: Table, role: Role, seed: int) -> RowSet:
    rows, declared = table.rows, _declared(config, role, table.rows.column_names)
    text = declared.get("text")
    titled = (
        text is not None
        and (role, text.modality) == (Role.positive, Modality.text)
        and TITLE not in declared
        and TITLE in rows.column_names
        and getattr(rows.features[TITLE], "dtype", None) in ("string", "large_string")
    )
    rows = rows.rename_columns({name: column.name for name, column in declared.items() if name != column.name})
    columns = tuple(declared.values())
    rows = prepare_columns(
        key, rows, columns, table.folder, seed, allow_urls=config.allow_urls, also=[TITLE] if titled else []
    )
    return TitledRows(key, rows, columns, text) if titled and text else RowSet(key, rows, columns)
