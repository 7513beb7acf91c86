"""What the sections of a report say: numbers and sentences, ready for its template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from markupsafe import Markup

from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, advised_cells, pareto_front
from mmst_cli.evaluation.loss_chart import loss_chart
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.evaluation.query_gallery import KINDS, SHOWN, Gallery
from mmst_cli.evaluation.svg_figures import CHART_CSS
from mmst_cli.time_shares import add_up, in_shares

WIDE, NARROW = 760, 340  # widths of figures, pixels: the page shows the one that fits
VECTORS = 1_000_000
MOST_CONFIG = 200_000  # characters


@dataclass(frozen=True)
class ReportData:
    """What a report shows; what is empty is left out.

    What to ship is read from each result's ``recommendation``.

    Attributes:
        title: the run or the model.
        verdict: the outcome in a sentence.
        after: evaluator to its evaluation, of the trained model or of the one that was evaluated.
        before: the same for the untrained model.
        created: when the page was made, for people.
        command: what was typed.
        metrics: the lines of metrics.jsonl.
        galleries: evaluator to queries worth looking at.
        data_card: a dict per dataset: name, used for, source, rows, columns, as they are to be read.
        config_yaml: the resolved config.
        environment: the content of environment.json.
        gate: the content of gate.json.
    """

    title: str
    verdict: str
    after: Mapping[str, Evaluation] = field(default_factory=dict)
    before: Mapping[str, Evaluation] = field(default_factory=dict)
    created: str = ""
    command: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    galleries: Mapping[str, Gallery] = field(default_factory=dict)
    data_card: list[dict[str, Any]] = field(default_factory=list)
    config_yaml: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)


def page_values(data: ReportData) -> dict[str, Any]:
    """Return all values of the template but those of the gallery."""
    results = {name: evaluation.result for name, evaluation in data.after.items()}
    before = {name: evaluation.result for name, evaluation in data.before.items()}
    headings = list(dict.fromkeys(key for row in data.data_card for key in row))
    return {
        "data": data,
        "title": data.title,
        "created": data.created,
        "chart_css": Markup(CHART_CSS),
        "evaluations": [_evaluation(e, data.before.get(name)) for name, e in data.after.items()],
        "quality": {name: two_widths(quality_chart, r, before.get(name)) for name, r in results.items()},
        "losses": _losses(data, results),
        "time_spent": in_shares(add_up(data.metrics)),
        "data_headings": headings,
        "data_rows": [[_value(row.get(heading, "")) for heading in headings] for row in data.data_card],
        "config": _clipped(data.config_yaml),
        "gate_kinds": [_gate_row(kind) for kind in data.gate.get("kinds", [])],
        "environment": [row for row in _flat(data.environment) if row[0] != "command" or not data.command],
    }


def galleries(shown: Mapping[str, Gallery], budget: int, *, too_large: bool = False) -> dict[str, Any]:
    """Return the template's values of the gallery.

    Args:
        shown: evaluator to gallery.
        budget: bytes that thumbnails may take in the page.
        too_large: say that the gallery had to be left out.
    """
    depth = thumbnail_depth(shown, budget)
    note = ""
    if too_large:
        note = "The gallery is left out, because the page would be over 5 MB with it."
    elif depth < SHOWN:
        kept = f"below rank {depth}" if depth > 0 else "of documents" if depth == 0 else "of queries and documents"
        note = f"Thumbnails {kept} are left out, so that the page stays under 5 MB."
    return {"galleries": shown, "kinds": KINDS, "depth": depth, "gallery_note": note}


def thumbnail_depth(shown: Mapping[str, Gallery], budget: int) -> int:
    """Return down to which rank all thumbnails fit into ``budget`` bytes: 0 is the queries alone, -1 none."""
    sizes = [0] * (SHOWN + 1)
    for item in (item for gallery in shown.values() for item in gallery.items()):
        sizes[0] += len(item.query.data_uri)
        for hit in (hit for found in item.found for hit in found.hits):
            sizes[hit.rank] += len(hit.document.data_uri)
    return max((depth for depth in range(-1, SHOWN + 1) if sum(sizes[: depth + 1]) <= budget), default=-1)


def two_widths(draw: Any, *arguments: Any) -> dict[str, Markup]:
    """Return a figure drawn for a wide page and for a narrow one, of which a page shows the one that fits."""
    return {"wide": Markup(draw(*arguments, width=WIDE)), "narrow": Markup(draw(*arguments, width=NARROW))}


def _losses(data: ReportData, results: Mapping[str, EvaluationResult]) -> dict[str, Markup] | None:
    primary = {name: result.primary_metric for name, result in results.items()}
    return two_widths(loss_chart, data.metrics, primary) if data.metrics else None


def _evaluation(evaluation: Evaluation, before: Evaluation | None) -> dict[str, Any]:
    """Return the facts, the recommendation and the table of one evaluator."""
    result = evaluation.result
    old = before.result if before else None
    rows = [_row(result, old, cell) for cell in result.cells]
    return {
        "name": result.evaluator,
        "metric": result.primary_metric,
        "facts": _facts(result, old),
        "advice": result.recommendation,
        "groups": [(dim, list(group)) for dim, group in groupby(rows, key=lambda row: row["dim"])],
        "has": {key: any(row[key] for row in rows) for key in ("before", "interval", "search")},
        "duplicates": result.duplicates,
        "metrics": list(result.full.metrics),
        "cells": [(cell.key, [_score(value) for value in cell.metrics.values()]) for cell in result.cells],
    }


def _row(result: EvaluationResult, old: EvaluationResult | None, cell: Cell) -> dict[str, Any]:
    old_cell = old.cell(cell.dim, cell.precision) if old else None
    full, score = result.primary(result.full), result.primary(cell)
    return {
        "dim": cell.dim,
        "precision": cell.precision,
        "before": _score(old.primary(old_cell)) if old and old_cell else "",
        "before_interval": _between(old_cell.interval) if old_cell else "",
        "after": _score(score),
        "interval": _between(cell.interval),
        "share": f"{score / full:.1%}" if full else "",
        "bytes": f"{cell.bytes_per_vector:,}",
        "index": size_in_words(cell.bytes_per_vector * VECTORS),
        "search": _milliseconds(cell.search_ms),
        "front": cell in pareto_front(result),
        "badge": advised_cells(result).get(cell.key, ""),
    }


def _facts(result: EvaluationResult, old: EvaluationResult | None) -> list[tuple[str, str, str]]:
    """Return (what, figure, explanation) of the few numbers to see first."""
    full = result.full
    score = _score(result.primary(full))
    figure = f"{_score(old.primary(old.full))} → {score}" if old else score
    facts = [
        (
            result.primary_metric,
            figure,
            f"{full.dim} dimensions, {full.precision}" + (", before → after" if old else ""),
        )
    ]
    for key, label in advised_cells(result).items():
        cell = next((cell for cell in result.cells if cell.key == key), None)
        if cell and cell.key != full.key:
            share = result.primary(cell) / result.primary(full) if result.primary(full) else 0.0
            saved = 1 - cell.bytes_per_vector / full.bytes_per_vector
            facts.append((label, key, f"{share:.1%} of the score, {cell.bytes_per_vector:,} bytes: {saved:.1%} less"))
    corpus = f"against {result.corpus:,} documents"
    corpus += f", {result.duplicates:,} more were identical" if result.duplicates else ""
    return [*facts, ("queries", f"{result.queries:,}", corpus)]


def _score(value: float) -> str:
    return f"{value:.4f}"


def _between(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""


def size_in_words(size: float) -> str:
    """Return a number of bytes in decimal units with three digits: ``512 MB``, ``8.19 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 1000 else f"{size:,.0f} TB"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} ms" if value < 1 else f"{value:,.1f} ms"


def _gate_row(kind: Mapping[str, Any]) -> list[str]:
    """Return what a row of the gate's table says: of a side and a modality, how far vectors are from others."""
    return [f"{kind['side']}, {kind['modality']}", f"{kind['inputs']:,}"] + [
        f"{found:.2g}" if isinstance(found := kind.get(name), int | float) else str(found or "-")
        for name in ("largest_difference", "smallest_movement")
    ]


def _value(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _clipped(text: str) -> str:
    return text if len(text) <= MOST_CONFIG else text[:MOST_CONFIG] + "\n# … cut here"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return (name, value) of nested values, as they are to be read."""
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}: " if key != "versions" else "")
        elif isinstance(value, list | tuple):
            rows.append((f"{prefix}{key}", (" " if key == "command" else ", ").join(map(str, value))))
        elif value not in (None, ""):
            rows.append((f"{prefix}{key}".replace("_", " "), value if isinstance(value, str) else json.dumps(value)))
    return rows
