"""Files of an evaluation beside its results: the chart, int8 ranges, and TREC runs, which trec_eval and ranx read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmst_cli.evaluation.evaluation_results import Evaluation, Hits, save_evaluation
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.evaluation.svg_figures import save_svg
from mmst_cli.storage import write_text
from mmst_cli.vectors.ranges import SUFFIX as RANGES
from mmst_cli.vectors.ranges import load_ranges, measure_ranges, save_ranges


def save_evaluation_files(
    evaluation: Evaluation,
    suite: EvaluatorSuite,
    folder: Path,
    suffix: str = "",
    before: Evaluation | None = None,
) -> Path:
    """Write an evaluation's files, its chart and, where int8 was measured, the ranges that it was measured with."""
    result = evaluation.result
    chart = quality_chart(result, before.result if before else None)
    save_svg(folder / f"{result.evaluator}{suffix}.svg", chart)
    evaluator = suite.retrievals.get(result.evaluator)
    if evaluator is not None:
        save_int8_ranges(evaluator, result.model, folder, suffix)
    return save_evaluation(evaluation, folder, suffix)


def save_int8_ranges(
    evaluator: MatryoshkaRetrievalEvaluator, model: str, folder: Path, suffix: str = ""
) -> Path | None:
    """Write the int8 ranges that were measured, beside those that are there of other dimensions."""
    if not evaluator.ranges:
        return None
    path = folder / f"{evaluator.name}{suffix}{RANGES}"
    ranges = replace(measure_ranges(evaluator.corpus_vectors, [], model), by_dim=dict(evaluator.ranges))
    if path.is_file():
        earlier = load_ranges(path)
        if earlier.model == model:
            ranges = replace(ranges, by_dim={**earlier.by_dim, **ranges.by_dim})
    return save_ranges(path, ranges)


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
