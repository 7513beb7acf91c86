"""What `mmst eval` shows on a terminal: the cells of an evaluation, what to ship, and two models side by side."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mmst_cli.evaluation.comparison import Comparison, p_in_words
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.evaluation.statistics import CONFIDENCE
from mmst_cli.terminal import Terminal

COSTS = ("bytes", "GB/1M", "ms/query")  # of a stored vector, of an index of a million, of a search here
WIDE = 110  # characters from which a table has room for further metrics


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
    """Return a table of cells, one of the queries that moved most if any did, and the verdict (a plain string)."""
    tables: list[RenderableType] = [_compared_cells(comparison)]
    if comparison.gained or comparison.lost:
        tables.append(_moved_queries(comparison))
    return [*tables, comparison.verdict]


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
