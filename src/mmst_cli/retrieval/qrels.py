"""Which documents answer which queries, and how well: the judgements of layout beir, read and held against ids."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mmst_cli.errors import DataError
from mmst_cli.retrieval.id_tables import CORPUS_IDS, QUERY_IDS, Table, texts


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
