"""What follows a measurement, in training and in `mmst eval` alike: advice, files, and what to show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.evaluation.build import EvaluatorSuite
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.evaluation.recommendation import recommend
from mmst_cli.evaluation.results import Evaluation, save_evaluation
from mmst_cli.evaluation.retrieval import MatryoshkaRetrievalEvaluator
from mmst_cli.evaluation.svg_figures import save_svg
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.ranges import SUFFIX as RANGES
from mmst_cli.vectors.ranges import load_ranges, measure_ranges, save_ranges

COSTS = ("bytes", "GB/1M", "ms/query")  # of a stored vector, of an index of a million, of a search here
WIDE = 110  # characters from which a table has room for further metrics
DEFAULT_KEEP = 0.99  # share of the full dimension's score that a recommended size must be shown to keep


def advised(suite: EvaluatorSuite, keep: float = DEFAULT_KEEP) -> dict[str, Evaluation]:
    """Return what each evaluator of a suite found, with a recommendation where there is something to choose."""
    found = {}
    for name, evaluation in suite.evaluations.items():
        advice = recommend(evaluation, keep)
        recommendation = advice.to_dict() if advice else None
        found[name] = replace(evaluation, result=replace(evaluation.result, recommendation=recommendation))
    return found


def save_outcome(
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
