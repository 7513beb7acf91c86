"""Which cells stand out: the Pareto front, and those that a saved recommendation speaks of."""

from __future__ import annotations

import math

from mmst_cli.evaluation.results import Cell, EvaluationResult


def scored_cells(result: EvaluationResult | None) -> list[Cell]:
    """Return the cells that have a size and a finite primary metric."""
    if result is None:
        return []
    scores = ((cell, cell.metrics.get(result.primary_metric, math.nan)) for cell in result.cells)
    return [cell for cell, score in scores if math.isfinite(score) and cell.bytes_per_vector > 0]


def pareto_front(result: EvaluationResult) -> list[Cell]:
    """Return the cells that no other beats in size and quality at once, smallest first.

    A cell is on the front if no other of at most as many bytes has at least its primary metric; of equals,
    the first counts.
    """
    front: list[Cell] = []
    for cell in sorted(scored_cells(result), key=lambda cell: (cell.bytes_per_vector, -result.primary(cell))):
        if not front or result.primary(cell) > result.primary(front[-1]):
            front.append(cell)
    return front


def advised_cells(result: EvaluationResult) -> dict[str, str]:
    """Return cell keys to ``recommended`` or ``may be enough``; empty without a recommendation."""
    advice = result.recommendation
    if not advice or not advice.get("command"):
        return {}
    advised = {f"{advice['dim']} {advice['precision']}": "recommended"}
    if candidate := advice.get("candidate"):
        advised[candidate] = "may be enough"
    return advised


def cell_to_compare(result: EvaluationResult) -> str | None:
    """Return the key of the smaller cell that the recommendation speaks of; None if it is the full one alone."""
    smaller = [key for key in advised_cells(result) if key != result.full.key]
    return smaller[-1] if smaller else None
