"""The losses of a training run and its evaluations over steps, as SVG text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmst_cli.evaluation.chart_drawing import (
    LEFT,
    RIGHT,
    WIDTH,
    Panel,
    Scale,
    element,
    empty_figure,
    figure,
    legend,
    linear_ticks,
    points,
    symbol,
    words,
)

PANEL = 150  # height of a panel, pixels
MOST_POINTS = 300  # of a line; more are averaged, so that a long run stays a small figure
DIMS_SHOWN = 4
_NDCG = re.compile(r"eval_(?P<name>.+?)_(?:cosine|dot|euclidean|manhattan)_(?P<metric>ndcg@\d+)")


@dataclass(frozen=True)
class Series:
    """A line of a figure: (step, value) pairs."""

    label: str
    pairs: list[tuple[float, float]]


def loss_chart(
    metrics: Sequence[Mapping[str, Any]], primary: Mapping[str, str] | None = None, *, width: int = WIDTH
) -> str:
    """Draw the training loss, the loss at some dimensions, and the evaluations, one above the other.

    Args:
        metrics: the lines of metrics.jsonl.
        primary: evaluator to its primary metric, such as ``ndcg@10``; left out, NDCG is looked for.
        width: of the figure, in pixels; text keeps its size.
    """
    panels = [
        ("Training loss", [Series("loss", _pairs(metrics, lambda line: line.get("loss")))], False),
        ("Training loss by dimension", _by_dimension(metrics), False),
        (_evaluation_title(primary), _evaluations(metrics, primary), True),
    ]
    drawn = [(title, _with_points(series), marks) for title, series, marks in panels]
    drawn = [(title, series, marks) for title, series, marks in drawn if series]
    title = "Losses and evaluations over training steps"
    if not drawn:
        return empty_figure(title, "No loss and no evaluation was logged.", width)
    steps = [step for _, series, _ in drawn for line in series for step, _ in line.pairs]
    across = Scale(min(steps), max(steps), LEFT, width - RIGHT)
    parts: list[str] = []
    top = 34.0
    for index, (heading, series, marks) in enumerate(drawn):
        last = index == len(drawn) - 1
        drawing, bottom = _panel(across, top, heading, series, marks, last)
        parts += drawing
        top = bottom + 46
    return figure(width, top - 38, title, _in_words(drawn), parts)


def _panel(
    across: Scale, top: float, heading: str, series: Sequence[Series], marks: bool, last: bool
) -> tuple[list[str], float]:
    """Draw one panel and return it with its lower end."""
    panel = Panel(across, Scale(*_value_range(series), top + PANEL, top))
    ticks = linear_ticks(across.low, across.high, int((across.end - across.start) / 64))
    parts = panel.axes(heading, ticks, (lambda step: f"{step:,.0f}") if last else None, "step" if last else "")
    for index, line in enumerate(series):
        style = f"s{index % 5}"
        at = [(across(step), panel.y(value)) for step, value in line.pairs]
        parts.append(element("polyline", points=points(at), class_=f"mark {style}"))
        if marks or len(at) == 1:
            parts += [_marked(line, index, pair, at_point) for pair, at_point in zip(line.pairs, at, strict=True)]
    bottom = top + PANEL + (36 if last else 0)
    if len(series) > 1:
        entries = [(_swatch(index, marks), line.label) for index, line in enumerate(series)]
        drawn, bottom = legend(entries, across.end, bottom + 22)
        parts += drawn
    return parts, bottom


def _swatch(index: int, marks: bool) -> str:
    line = element("path", d="M-8 0H8", class_=f"mark s{index % 5}")
    return line + (symbol(index % 5, f"s{index % 5} on") if marks else "")


def _marked(line: Series, index: int, pair: tuple[float, float], at: tuple[float, float]) -> str:
    label = words("title", f"{line.label}: {pair[1]:.4f} at step {pair[0]:,.0f}")
    return element("g", label + symbol(index % 5, f"s{index % 5} on", *at))


def _pairs(metrics: Sequence[Mapping[str, Any]], value_of: Any) -> list[tuple[float, float]]:
    """Return (step, value) of the lines that have a finite value."""
    found = ((_finite(line.get("step")), _finite(value_of(line))) for line in metrics)
    return [(step, value) for step, value in found if step is not None and value is not None]


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _by_dimension(metrics: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Return the loss at the largest, the smallest and some dimensions between; empty for one dimension."""
    names = dict.fromkeys(dim for line in metrics for dim in (line.get("loss_per_dim") or {}))
    dims = sorted(names, key=lambda dim: -int(dim))
    if len(dims) < 2:
        return []
    count = min(DIMS_SHOWN, len(dims))
    shown = [dims[round(index * (len(dims) - 1) / (count - 1))] for index in range(count)]
    return [
        Series(f"{dim} dimensions", _pairs(metrics, lambda line, dim=dim: (line.get("loss_per_dim") or {}).get(dim)))
        for dim in shown
    ]


def _evaluation_title(primary: Mapping[str, str] | None) -> str:
    names = sorted(set((primary or {}).values()))
    return f"Evaluation: {names[0]}" if len(names) == 1 else "Evaluation"


def _evaluations(metrics: Sequence[Mapping[str, Any]], primary: Mapping[str, str] | None) -> list[Series]:
    """Return the primary metric of each evaluator at its full dimension."""
    keys = dict.fromkeys(key for line in metrics for key in line if key.startswith("eval_"))
    names = _primary_keys(keys, primary) if primary else _ndcg_keys(keys)
    return [Series(label, _pairs(metrics, lambda line, key=key: line.get(key))) for key, label in names.items()]


def _primary_keys(keys: Iterable[str], primary: Mapping[str, str]) -> dict[str, str]:
    """Return the shortest key of each evaluator's primary metric: the others name a dimension or precision."""
    found = {}
    for name, metric in primary.items():
        own = [key for key in keys if key.startswith(f"eval_{name}_") and key.endswith(f"_{metric}")]
        if own:
            found[min(own, key=len)] = name if len(set(primary.values())) == 1 else f"{name}: {metric}"
    return found


def _ndcg_keys(keys: Iterable[str]) -> dict[str, str]:
    matches = {key: match for key in keys if (match := _NDCG.fullmatch(key))}
    return {key: f"{m['name']}: {m['metric']}" for key, m in matches.items() if "_dim_" not in key}


def _with_points(series: Sequence[Series]) -> list[Series]:
    return [Series(line.label, _thinned(line.pairs)) for line in series if line.pairs]


def _thinned(pairs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most :data:`MOST_POINTS` pairs, each the mean of its neighbours."""
    size = math.ceil(len(pairs) / MOST_POINTS)
    groups = [pairs[start : start + size] for start in range(0, len(pairs), size)] if size > 1 else []
    means = [(sum(step for step, _ in g) / len(g), sum(value for _, value in g) / len(g)) for g in groups]
    return means or pairs


def _value_range(series: Sequence[Series]) -> tuple[float, float]:
    values = [value for line in series for _, value in line.pairs]
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    return (0.0 if 0 <= low < high / 2 else low - room), high + room


def _in_words(drawn: Iterable[tuple[str, Sequence[Series], bool]]) -> str:
    sentences = []
    for heading, series, _ in drawn:
        changes = [f"{s.label} from {s.pairs[0][1]:.4g} to {s.pairs[-1][1]:.4g}" for s in series]
        sentences.append(f"{heading}: {', '.join(changes)}.")
    return " ".join(sentences)
