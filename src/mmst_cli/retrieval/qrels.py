"""Which documents answer which queries, and how well: the judgements of layout beir, read and held against ids."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

QUERY_IDS = ("query-id", "query_id")
CORPUS_IDS = ("corpus-id", "corpus_id")
OWN_IDS = ("_id", "id")
TITLE = "title"


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


def read_grades(
    key: str, qrels: Table, query_ids: Collection[str], corpus_ids: Collection[str]
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Return query id to document id to grade, for each judged query, and sentences about what is left out.

    Documents with a score of 0 or less are not relevant, and a query of which no document is has an empty
    entry. Of two judgements of the same pair the higher counts.

    Raises:
        DataError: a column or score is missing or broken, a judgement names an unknown id, or no query has
            a relevant document.
    """
    pairs = zip(
        texts(key, qrels.name, qrels.column(key, QUERY_IDS)),
        texts(key, qrels.name, qrels.column(key, CORPUS_IDS)),
        qrels.column(key, ("score",)),
        strict=True,
    )
    queries, corpus = set(query_ids), set(corpus_ids)
    grades: dict[str, dict[str, int]] = {}
    unknown: list[tuple[int, str]] = []
    for row, (query, document, score) in enumerate(pairs):
        grade = _grade(key, qrels.name, row, score)
        if query not in queries:
            unknown.append((row, f"query {query}"))
            continue
        answers = grades.setdefault(query, {})
        if document not in corpus:
            unknown.append((row, f"document {document}"))
        elif grade > 0:
            answers[document] = max(grade, answers.get(document, 0))
    _refuse_unknown(key, qrels, unknown)
    return grades, _note_unanswered(key, qrels.name, grades, len(queries))


def _grade(key: str, table: str, row: int, score: Any) -> int:
    try:
        number = float(score)
    except (TypeError, ValueError):
        number = float("nan")
    if number.is_integer():
        return int(number)
    raise DataError(f"datasets.{key}.path: {table}, row {row}: a score is a whole number, found {score!r}.")


def _refuse_unknown(key: str, qrels: Table, unknown: list[tuple[int, str]]) -> None:
    if not unknown:
        return
    row, name = unknown[0]
    found = f"{len(unknown):,} of {len(qrels.rows):,} judgements in {qrels.name} name an id that isn't there"
    raise DataError(
        f"datasets.{key}.path: {found}, the first the {name} in row {row}. Take the corpus and the queries that"
        " were judged, or drop those judgements."
    )


def _note_unanswered(key: str, table: str, grades: dict[str, dict[str, int]], queries: int) -> list[str]:
    answered = sum(bool(answers) for answers in grades.values())
    if not answered:
        raise DataError(f"datasets.{key}.path: {table} has no relevant document for any query: nothing to evaluate.")
    notes = []
    if unjudged := queries - len(grades):
        notes.append(f"{unjudged:,} of {queries:,} queries are not judged in {table}, and are left out.")
    if unanswered := len(grades) - answered:
        notes.append(
            f"{unanswered:,} of {queries:,} queries are judged but have no relevant document in the corpus,"
            " and are left out."
        )
    return notes
