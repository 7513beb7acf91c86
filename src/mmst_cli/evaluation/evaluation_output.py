"""What an evaluation leaves: its chart, int8 ranges and TREC runs as files, and its tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mmst_cli.evaluation.comparison import Comparison, p_in_words
from mmst_cli.evaluation.evaluation_results import Evaluation, Hits, save_evaluation
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.evaluation.statistics import CONFIDENCE
from mmst_cli.evaluation.svg_figures import save_svg
from mmst_cli.storage import write_text
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.ranges import SUFFIX as RANGES
from mmst_cli.vectors.ranges import load_ranges, measure_ranges, save_ranges

COSTS = ("bytes", "GB/1M", "ms/query")  # of a stored vector, of an index of a million, of a search here
WIDE = 110  # characters from which a table has room for further metrics


def save_evaluation_files(
    evaluation: Evaluation, suite: EvaluatorSuite, folder: Path, suffix: str = "", before: Evaluation | None = None
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


def show_advice(evaluation: Evaluation, terminal: Terminal) -> None:
    """Print what to ship, and the command that encodes so."""
    advice = evaluation.result.recommendation
    if advice is None:
        return
    terminal.show(f"{evaluation.result.evaluator}: {advice['sentence']}")
    if advice.get("command"):
        terminal.show(f"next: {advice['command']}")


def cells_table(evaluation: Evaluation, width: int = 80) -> Table:
    """Return a row per cell: the primary metric with its interval, what it keeps, and what it costs.

    Args:
        evaluation: what was found.
        width: characters there are; further metrics are shown where they fit.
    """
    result = evaluation.result
    others = [n for n in ("mrr@10", "recall@10", "accuracy@1") if n in result.full.metrics] if width >= WIDE else []
    title = f"{result.evaluator}: {result.queries:,} queries, {result.corpus:,} documents" if result.corpus else None
    table = Table(
        title=title or result.evaluator, title_justify="left", box=SIMPLE_HEAD, title_style="bold", padding=(0, 1, 0, 0)
    )
    for heading in ("dim", "precision", result.primary_metric, "95% interval", "of full", *others, *COSTS):
        table.add_column(heading, justify="left" if heading == "precision" else "right", no_wrap=True)
    best = result.primary(result.full)
    for cell in result.cells:
        score = result.primary(cell)
        row = [str(cell.dim), cell.precision, f"{score:.4f}"]
        row.append("{:.3f}-{:.3f}".format(*cell.interval) if cell.interval else "-")
        row += [f"{score / best:.1%}" if best else "-", *(f"{cell.metrics[name]:.4f}" for name in others)]
        row += [str(cell.bytes_per_vector), f"{cell.bytes_per_vector / 1000:.3g}"]
        table.add_row(*row, "-" if cell.search_ms is None else f"{cell.search_ms:.3f}")
    return table


def comparison_tables(comparison: Comparison) -> list[RenderableType]:
    """Return a table of cells, one of the queries that moved most if any did, and in plain strings note and verdict."""
    tables: list[RenderableType] = [_compared_cells(comparison)]
    if comparison.gained or comparison.lost:
        tables.append(_moved_queries(comparison))
    return [*tables, *([comparison.note] if comparison.note else []), comparison.verdict]


def _compared_cells(comparison: Comparison) -> Table:
    title = f"{comparison.evaluator}: {comparison.metric} of A = {comparison.name_a} and B = {comparison.name_b}"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for heading in ("dim", "precision", "A", "B", "A - B", "95% interval", "p", "p, Holm"):
        table.add_column(heading, justify="left" if heading == "precision" else "right", no_wrap=True)
    for cell in comparison.cells:
        low, high = cell.interval
        difference = Text(f"{cell.difference:+.4f}")
        if cell.p_holm < 1 - CONFIDENCE:
            difference.stylize("bold green" if cell.difference > 0 else "bold red")
        scores = (f"{cell.a:.4f}", f"{cell.b:.4f}", difference, f"{low:+.4f} to {high:+.4f}")
        table.add_row(str(cell.dim), cell.precision, *scores, p_in_words(cell.p), p_in_words(cell.p_holm))
    return table


def _moved_queries(comparison: Comparison) -> Table:
    first = comparison.cells[0]
    title = f"Queries that gained and lost most at {first.dim} dimensions in {first.precision}"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("query")
    for heading in ("A", "B", "A - B"):
        table.add_column(heading, justify="right", no_wrap=True)
    for part in (comparison.gained, comparison.lost):
        for moved in part:
            label = f"{moved.query}: {' '.join(moved.text.split())}" if moved.text else moved.query
            # The text is cut, not wrapped; a column that can't wrap would take its room from the figures.
            table.add_row(
                Text(label, no_wrap=True, overflow="ellipsis"),
                f"{moved.a:.4f}",
                f"{moved.b:.4f}",
                f"{moved.a - moved.b:+.4f}",
            )
        table.add_section()
    return table
