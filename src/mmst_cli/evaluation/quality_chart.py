"""Quality against bytes: every cell of an evaluation in one figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.evaluation.chart_drawing import (
    CHARACTER,
    LEFT,
    RIGHT,
    WIDTH,
    Panel,
    Scale,
    element,
    empty_figure,
    figure,
    legend,
    log2_ticks,
    points,
    symbol,
    words,
)
from mmst_cli.evaluation.marked_cells import advised_cells, pareto_front, scored_cells
from mmst_cli.evaluation.results import Cell, EvaluationResult

MAIN, SMALL = 250, 100  # heights of panels, pixels
NEAR = 0.9  # of the best score: what a size is chosen from
FAR = 1.8  # how many times as long an axis must be for the near cells to get a panel of their own
LINE = 13.0  # pixels of a line of text
BESIDE = 5.0  # pixels between cells of one size


@dataclass(frozen=True)
class Dot:
    """A cell as it is drawn."""

    key: str
    dim: int
    shape: int
    style: str
    size: int
    score: float
    low: float
    high: float
    shift: float
    on_front: bool
    words: str


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
    dots, old = _dots(result), _dots(before, style="s9")
    if not dots:
        return empty_figure(title, "No finite value to draw.", width)
    sizes = [dot.size for dot in [*dots, *old]]
    across = Scale(min(sizes) / 1.15, max(sizes) * 1.15, LEFT + 8, width - RIGHT - 8, log2=True)
    ticks = log2_ticks(across.low, across.high, width // 56)
    near, parts, top = _near_the_best(dots, old), [], 34.0
    if near:
        panel = Panel(across, Scale(*_score_range(near), top + MAIN, top))
        parts += [*panel.axes(f"{_heading(result)}, near the best", ticks, None), *_cells(panel, result, near)]
        top += MAIN + 40
    panel = Panel(across, Scale(*_score_range([*dots, *old]), top + (SMALL if near else MAIN), top))
    parts += panel.axes(
        f"All, {result.queries:,} queries" if near else f"{_heading(result)}, {result.queries:,} queries",
        ticks,
        _bytes,
        "bytes per vector",
    )
    parts += [_drawn(panel, dot) for dot in old] + _cells(panel, result, dots, named=not near)
    entries, bottom = legend(_legend(result, bool(old)), width, panel.y.start + 62)
    return figure(width, bottom + 12, title, _in_words(result), [*parts, *entries])


def _dots(result: EvaluationResult | None, style: str | None = None) -> list[Dot]:
    cells = scored_cells(result)
    if result is None or not cells:
        return []
    front = {cell.key for cell in pareto_front(result)}
    present = [name for name in PRECISIONS if any(cell.precision == name for cell in cells)]
    dots = []
    for cell in cells:
        shape, score = _shape(cell.precision), result.primary(cell)
        low, high = _interval(cell) or (score, score)
        place = present.index(cell.precision) if cell.precision in present else len(present)
        shift = (place - (len(present) - 1) / 2) * BESIDE
        on_front = cell.key in front and style is None
        about = (shape, style or f"s{shape}", cell.bytes_per_vector, score, low, high, shift, on_front)
        dots.append(Dot(cell.key, cell.dim, *about, _cell_in_words(result, cell)))
    return dots


def _shape(precision: str) -> int:
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS) - 1


def _interval(cell: Cell) -> tuple[float, float] | None:
    return cell.interval if cell.interval and all(map(math.isfinite, cell.interval)) else None


def _near_the_best(dots: Sequence[Dot], old: Sequence[Dot]) -> list[Dot]:
    """Return the dots near the best one, if the others would squeeze them together; or else none."""
    best = max(dot.score for dot in dots)
    near = [dot for dot in dots if dot.score >= NEAR * best]
    low, high = _score_range(near or dots)
    lowest, highest = _score_range([*dots, *old])
    return near if len(near) > 1 and highest - lowest > FAR * (high - low) else []


def _score_range(dots: Sequence[Dot]) -> tuple[float, float]:
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    room = max((high - low) * 0.1, 0.004)
    return (low - room if low < 0 else max(low - room, 0.0)), (high + room if high > 1 else min(high + room, 1.0))


def _heading(result: EvaluationResult) -> str:
    intervals = any(_interval(cell) for cell in result.cells)
    return result.primary_metric + (", 95% intervals" if intervals else "")


def _bytes(size: float) -> str:
    return f"{size / 1024:g} Ki" if size >= 1024 else f"{size:g}"


def _cells(panel: Panel, result: EvaluationResult, dots: Sequence[Dot], *, named: bool = True) -> list[str]:
    """Draw the line to keep, the front, the dots, and rings around those that are advised."""
    parts = [_front(panel, [dot for dot in dots if dot.on_front])]
    score = _score_to_keep(result)
    if score is not None and panel.y.low <= score <= panel.y.high:
        y = panel.y(score)
        parts.append(element("line", x1=panel.x.start, x2=panel.x.end, y1=y, y2=y, class_="keep"))
    parts += [_drawn(panel, dot) for dot in dots]
    for dot in dots:
        if what := advised_cells(result).get(dot.key):
            x, y = panel.x(dot.size) + dot.shift, panel.y(dot.score)
            parts.append(element("circle", cx=x, cy=y, r=9.5, class_=_ring(what)))
    return parts + (_names(panel, [dot for dot in dots if dot.on_front]) if named else [])


def _names(panel: Panel, front: Sequence[Dot]) -> list[str]:
    """Write dimensions above the front; a name that would run into the one before stands above it."""
    parts, right, above = [], -math.inf, math.inf
    for dot in sorted(front, key=lambda dot: dot.size):
        x, y = panel.x(dot.size) + dot.shift, min(panel.y(dot.high) - 5, panel.y(dot.score) - 12)
        half = len(str(dot.dim)) * CHARACTER / 2 + 2
        if x - half < right and abs(y - above) < LINE:
            y = above - LINE
        right, above = x + half, y
        parts.append(words("text", str(dot.dim), x=x, y=y, text_anchor="middle", class_="soft"))
    return parts


def _ring(what: str) -> str:
    return "ring" if what == "recommended" else "ring maybe"


def _drawn(panel: Panel, dot: Dot) -> str:
    x, y = panel.x(dot.size) + dot.shift, panel.y(dot.score)
    parts = [words("title", dot.words)]
    if dot.high > dot.low:
        path = f"M{x:.2f} {panel.y(dot.low):.2f}V{panel.y(dot.high):.2f}"
        parts.append(element("path", d=path, class_=f"mark bar {dot.style}"))
    parts.append(symbol(dot.shape, f"{dot.style} on" if dot.on_front else dot.style, x, y))
    return element("g", "".join(parts))


def _front(panel: Panel, front: Sequence[Dot]) -> str:
    """Draw the best score that any number of bytes buys, as steps."""
    corners: list[tuple[float, float]] = []
    for dot in sorted(front, key=lambda dot: dot.size):
        x = panel.x(dot.size) + dot.shift
        corners += [(x, corners[-1][1])] if corners else []
        corners.append((x, panel.y(dot.score)))
    corners += [(panel.x.end, corners[-1][1])] if corners else []
    return element("polyline", points=points(corners), class_="front")


def _score_to_keep(result: EvaluationResult) -> float | None:
    """Return the score that the recommendation asks a cell to keep."""
    keep = (result.recommendation or {}).get("keep")
    full = result.full.metrics.get(result.primary_metric, math.nan)
    return keep * full if keep and math.isfinite(full) else None


def _legend(result: EvaluationResult, with_old: bool) -> list[tuple[str, str]]:
    names = dict.fromkeys(cell.precision for cell in scored_cells(result))
    entries = [(symbol(_shape(name), f"s{_shape(name)} on"), name) for name in names]
    entries.append((element("path", d="M-8 4H0V-4H8", class_="front"), "Pareto front (number: dimension)"))
    for key, what in advised_cells(result).items():
        entries.append((element("circle", r=7.5, class_=_ring(what)), f"{what}: {key}"))
    if _score_to_keep(result) is not None:
        share = f"{100 * (result.recommendation or {})['keep']:g}%"
        entries.append((element("path", d="M-8 0H8", class_="keep"), f"{share} of the full score"))
    if with_old:
        entries.append((symbol(0, "s9"), "before training"))
    return entries


def _cell_in_words(result: EvaluationResult, cell: Cell) -> str:
    interval = _interval(cell)
    between = f" (95% interval {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    score = f"{result.primary_metric} {result.primary(cell):.4f}"
    return f"{cell.key}: {score}{between}, {cell.bytes_per_vector:,} bytes"


def _in_words(result: EvaluationResult) -> str:
    front = "; ".join(_cell_in_words(result, cell) for cell in pareto_front(result))
    return f"{len(result.cells)} combinations of dimension and precision. On the Pareto front: {front}."
