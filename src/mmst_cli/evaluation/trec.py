"""TREC run files and judgements, which trec_eval, ranx and other tools read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmst_cli.evaluation.results import Hits
from mmst_cli.evaluation.retrieval import MatryoshkaRetrievalEvaluator
from mmst_cli.storage import write_text


def save_runs(evaluator: MatryoshkaRetrievalEvaluator, folder: Path, tag: str) -> list[Path]:
    """Write ``<evaluator>.<dim>.<precision>.trec`` for every cell of the last evaluation, and ``<evaluator>.qrels``.

    Args:
        evaluator: one that was just run.
        folder: where to.
        tag: name of the system, the last field of each line.
    """
    assert evaluator.evaluation is not None, "nothing was evaluated yet"
    depth = max(k for cutoffs in evaluator.ks.values() for k in cutoffs)
    queries, documents = evaluator.retrieval.query_ids, evaluator.retrieval.corpus_ids
    written = []
    for cell in evaluator.evaluation.result.cells:
        lines = run_lines(evaluator.hits(cell, depth), queries, documents, _word(tag))
        path = folder / f"{evaluator.name}.{cell.dim}.{cell.precision}.trec"
        written.append(write_text(path, "".join(f"{line}\n" for line in lines)))
    judged = (
        f"{_word(query)} 0 {_word(document)} {grade}\n"
        for query, answers in evaluator.judgements().items()
        for document, grade in answers.items()
    )
    return [*written, write_text(folder / f"{evaluator.name}.qrels", "".join(judged))]


def run_lines(hits: Hits, queries: list[str], documents: list[str], tag: str) -> Iterator[str]:
    """Yield ``query Q0 document rank score tag`` for every hit.

    Tools sort by score themselves and break ties in ways of their own, so equal scores are told apart by the
    smallest step there is.
    """
    for query, found, scores in zip(queries, hits.documents, _strictly_falling(hits.scores), strict=True):
        for rank, (document, score) in enumerate(zip(found, scores, strict=True), 1):
            yield f"{_word(query)} Q0 {_word(documents[document])} {rank} {score!r} {tag}"


def _strictly_falling(scores: np.ndarray) -> Iterator[list[float]]:
    """Yield each query's scores so that no two are equal in float32, which is what trec_eval reads them into."""
    least = np.float32(-np.inf)
    for row in scores.astype(np.float32):
        for place in range(1, len(row)):
            row[place] = min(row[place], np.nextafter(row[place - 1], least))
        yield [float(score) for score in row]


def _word(text: str) -> str:
    """Return an id or a name without blanks, which separate the fields."""
    return "_".join(text.split())
