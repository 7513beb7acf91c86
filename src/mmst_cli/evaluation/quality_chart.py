"""Quality against bytes: every cell of an evaluation in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.evaluation.evaluation_results import Cell, EvaluationResult, advised_cells, pareto_front, scored_cells
from mmst_cli.evaluation.svg_figures import (
    CHARACTER,
    GROUND,
    LEGEND_LINE,
    LINE,
    MARKERS,
    OLD,
    SERIES,
    SOFT,
    TEXT,
    WIDTH,
    as_svg,
    drawing,
    empty_figure,
    legend_shape,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MAIN, SMALL = 320, 170  # heights of panels, pixels
NEAR = 0.9  # of the best score: what a size is chosen from
FAR = 1.8  # how many times as long an axis must be for the near cells to get a panel of their own
BESIDE = 5.0  # pixels between cells of one size
SIDES = 70  # pixels of a figure beside its panels
RINGS = {"recommended": 1.8, "may be enough": 0.8}  # widths of the line around a mark


@dataclass(frozen=True)
class Dot:
    """A cell as it is drawn: ``x`` is in bytes, moved a little so that cells of one size stand side by side."""

    cell: Cell
    score: float
    interval: tuple[float, float]
    x: float
    colour: str
    on_front: bool


def quality_chart(result: EvaluationResult, before: EvaluationResult | None = None, *, width: int = WIDTH) -> str:
    """Draw the primary metric of every cell against its bytes, with 95% intervals.

    What the result's recommendation speaks of has a ring, and what it asks to keep has a line. Where some cells
    lie far below the best, as those before training do, the near ones are also drawn in a panel of their own.

    Args:
        result: the evaluation.
        before: the same before training.
        width: of the figure, in pixels; text keeps its size.
    """
    title = f"{result.evaluator}: {result.primary_metric} against bytes per vector"
    sizes = [cell.bytes_per_vector for found in (result, before) for cell in scored_cells(found)]
    if not scored_cells(result):
        return empty_figure(title, "No finite value to draw.", width)
    ends = min(sizes) / 1.15, max(sizes) * 1.15
    pixel = math.log2(ends[1] / ends[0]) / (width - SIDES)  # in powers of two
    dots, old = _dots(result, pixel), _dots(before, pixel, OLD)
    near = _near_the_best(dots, old)
    heading = result.primary_metric + (", 95% intervals" if any(_interval(cell) for cell in result.cells) else "")
    shown = [(f"{heading}, near the best", near)] if near else []
    shown.append((f"{'All' if near else heading}, {result.queries:,} queries", [*old, *dots]))
    with drawing():
        entries = _legend(result, bool(old))
        columns, lines = legend_shape(list(entries), width)
        heights = [MAIN, SMALL][: len(shown)]
        figure, axes = panels([*heights[:-1], heights[-1] + lines * LEGEND_LINE], width)
        for panel, (name, drawn) in zip(axes, shown, strict=True):
            panel.set_title(name)
            _draw(panel, result, drawn)
        _name_dimensions(axes[0], [dot for dot in near or dots if dot.on_front], pixel)
        _bytes_axis(axes[-1], ends, width)
        figure.legend(entries.values(), entries, ncols=columns, loc="outside lower left")
        words = {_id(dot): _in_words(result if dot in dots else before, dot.cell) for dot in [*dots, *old]}
        return as_svg(figure, title, _description(result), words)


def _dots(result: EvaluationResult | None, pixel: float, colour: str | None = None) -> list[Dot]:
    cells = scored_cells(result)
    if result is None:
        return []
    front = pareto_front(result) if colour is None else []
    present = sorted({_place(cell.precision) for cell in cells})
    dots = []
    for cell in cells:
        place, score = _place(cell.precision), result.primary(cell)
        shift = (present.index(place) - (len(present) - 1) / 2) * BESIDE * pixel
        x = cell.bytes_per_vector * 2**shift
        dots.append(Dot(cell, score, _interval(cell) or (score, score), x, colour or SERIES[place], cell in front))
    return dots


def _place(precision: str) -> int:
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS) - 1


def _interval(cell: Cell) -> tuple[float, float] | None:
    return cell.interval if cell.interval and all(map(math.isfinite, cell.interval)) else None


def _id(dot: Dot) -> str:
    return f"{dot.cell.key} {dot.colour}"


def _near_the_best(dots: Sequence[Dot], old: Sequence[Dot]) -> list[Dot]:
    """Return the dots near the best one, if the others would squeeze them together; or else none."""
    best = max(dot.score for dot in dots)
    near = [dot for dot in dots if dot.score >= NEAR * best]
    low, high = _score_range(near or dots)
    lowest, highest = _score_range([*dots, *old])
    return near if len(near) > 1 and highest - lowest > FAR * (high - low) else []


def _score_range(dots: Sequence[Dot]) -> tuple[float, float]:
    low, high = min(dot.interval[0] for dot in dots), max(dot.interval[1] for dot in dots)
    room = max((high - low) * 0.1, 0.004)
    return (low - room if low < 0 else max(low - room, 0.0)), (high + room if high > 1 else min(high + room, 1.0))


def _draw(panel: Axes, result: EvaluationResult, dots: Sequence[Dot]) -> None:
    """Draw the line to keep, the front as what any number of bytes buys, the dots, and rings around the advised."""
    low, high = _score_range(dots)
    panel.set_ylim(low, high)
    keep = _score_to_keep(result)
    if keep is not None and low <= keep <= high:
        panel.axhline(keep, color=SOFT, linestyle=(0, (2, 4)), linewidth=1)
    front = sorted((dot for dot in dots if dot.on_front), key=lambda dot: dot.x)
    corners = [(dot.x, dot.score) for dot in front] + [(max(dot.x for dot in dots) * 1.1, front[-1].score)]
    panel.step(*zip(*corners, strict=True), where="post", color=LINE)
    rings = advised_cells(result)
    for dot in dots:
        panel.plot([dot.x, dot.x], dot.interval, color=dot.colour, linewidth=1.2, alpha=0.65)
        panel.plot([dot.x], [dot.score], gid=_id(dot), **_mark(dot.cell.precision, dot.colour, dot.on_front))
        if dot.colour != OLD and dot.cell.key in rings:
            panel.plot([dot.x], [dot.score], **_ring(rings[dot.cell.key]))


def _mark(precision: str, colour: str, filled: bool) -> dict[str, Any]:
    fill = colour if filled else GROUND
    return {"linestyle": "", "marker": MARKERS[_place(precision)], "color": colour, "markerfacecolor": fill}


def _ring(what: str) -> dict[str, Any]:
    about = {"markerfacecolor": "none", "markersize": 18, "markeredgewidth": RINGS[what]}
    return {"linestyle": "", "marker": "o", "color": TEXT, **about}


def _name_dimensions(panel: Axes, front: Sequence[Dot], pixel: float) -> None:
    """Write dimensions above the front; a name that would run into the one before stands above it."""
    right, above = -math.inf, 0.0
    for dot in sorted(front, key=lambda dot: dot.x):
        half = len(str(dot.cell.dim)) * CHARACTER / 2
        x = math.log2(dot.x) / pixel
        above = above + LEGEND_LINE - 5 if x - half < right else 10
        right = x + half
        at = (dot.x, max(dot.interval[1], dot.score))
        panel.annotate(str(dot.cell.dim), at, (0, above), textcoords="offset points", ha="center", color=SOFT)


def _bytes_axis(panel: Axes, ends: tuple[float, float], width: int) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_xscale("log", base=2)
    panel.set_xlim(*ends)
    panel.set_xlabel("bytes per vector", loc="right")
    panel.xaxis.set_major_locator(LogLocator(base=2, numticks=width // 56))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(_bytes))


def _bytes(size: float, place: int | None = None) -> str:
    return f"{size / 1024:g} Ki" if size >= 1024 else f"{size:g}"


def _score_to_keep(result: EvaluationResult) -> float | None:
    """Return the score that the recommendation asks a cell to keep."""
    keep = (result.recommendation or {}).get("keep")
    full = result.full.metrics.get(result.primary_metric, math.nan)
    return keep * full if keep and math.isfinite(full) else None


def _legend(result: EvaluationResult, with_old: bool) -> dict[str, Line2D]:
    from matplotlib.lines import Line2D

    def entry(**style: Any) -> Line2D:
        return Line2D([], [], **style)

    names = dict.fromkeys(cell.precision for cell in scored_cells(result))
    entries = {name: entry(**_mark(name, SERIES[_place(name)], True)) for name in names}
    entries["Pareto front (number: dimension)"] = entry(color=LINE)
    for key, what in advised_cells(result).items():
        entries[f"{what}: {key}"] = entry(**_ring(what) | {"markersize": 13})
    if _score_to_keep(result) is not None:
        share = f"{100 * (result.recommendation or {})['keep']:g}%"
        entries[f"{share} of the full score"] = entry(color=SOFT, linestyle=(0, (2, 4)), linewidth=1)
    if with_old:
        entries["before training"] = entry(**_mark("float32", OLD, False))
    return entries


def _in_words(result: EvaluationResult | None, cell: Cell) -> str:
    assert result is not None
    interval = _interval(cell)
    between = f" (95% interval {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    score = f"{result.primary_metric} {result.primary(cell):.4f}"
    return f"{cell.key}: {score}{between}, {cell.bytes_per_vector:,} bytes"


def _description(result: EvaluationResult) -> str:
    front = "; ".join(_in_words(result, cell) for cell in pareto_front(result))
    return f"{len(result.cells)} combinations of dimension and precision. On the Pareto front: {front}."
