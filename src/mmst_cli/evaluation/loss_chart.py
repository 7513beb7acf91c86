"""The losses of a training run and its evaluations over steps, as SVG text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmst_cli.evaluation.svg_figures import (
    LEGEND_LINE,
    MARKERS,
    SERIES,
    WIDTH,
    as_svg,
    drawing,
    empty_figure,
    legend_shape,
    panels,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL = 190  # height of a panel with its title, pixels
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
    evaluated = _evaluation_title(primary)
    found = {
        "Training loss": [Series("loss", _pairs(metrics, lambda line: line.get("loss")))],
        "Training loss by dimension": _by_dimension(metrics),
        evaluated: _evaluations(metrics, primary),
    }
    return _chart("Losses and evaluations over training steps", found, evaluated, width)


def runs_chart(runs: Mapping[str, tuple[Sequence[Mapping[str, Any]], Mapping[str, str]]], *, width: int = WIDTH) -> str:
    """Draw the training losses of several runs in one panel, and their evaluations in another.

    Args:
        runs: name to the lines of metrics.jsonl, and evaluator to primary metric.
        width: of the figure, in pixels; text keeps its size.
    """
    evaluated = _evaluation_title({name: metric for _, primary in runs.values() for name, metric in primary.items()})
    losses = [Series(run, _pairs(lines, lambda line: line.get("loss"))) for run, (lines, _) in runs.items()]
    scores = [
        Series(f"{run}: {one.label}" if len(found) > 1 else run, one.pairs)
        for run, (lines, primary) in runs.items()
        for found in [_evaluations(lines, primary)]
        for one in found
    ]
    title = "Losses and evaluations of several runs over training steps"
    return _chart(title, {"Training loss": losses, evaluated: scores}, evaluated, width)


def _chart(title: str, found: Mapping[str, Sequence[Series]], evaluated: str, width: int) -> str:
    drawn = {heading: _with_points(series) for heading, series in found.items()}
    drawn = {heading: series for heading, series in drawn.items() if series}
    if not drawn:
        return empty_figure(title, "No loss and no evaluation was logged.", width)
    lines = [legend_shape([line.label for line in series], width)[1] for series in drawn.values()]
    with drawing():
        figure, axes = panels([PANEL + LEGEND_LINE * count for count in lines], width)
        words: dict[str, str] = {}
        for panel, (heading, series) in zip(axes, drawn.items(), strict=True):
            panel.set_title(heading, pad=8 + (LEGEND_LINE * lines[axes.index(panel)] if len(series) > 1 else 0))
            words |= _draw(panel, series, marks=heading == evaluated, width=width)
        axes[-1].set_xlabel("step", loc="right")
        axes[-1].xaxis.set_major_formatter("{x:,.0f}")
        axes[-1].locator_params(axis="x", nbins=width // 64, integer=True)
        return as_svg(figure, title, _in_words(drawn), words)


def _draw(panel: Axes, series: Sequence[Series], *, marks: bool, width: int) -> dict[str, str]:
    """Draw lines, and marks where there are few points; return what is said of each mark, by its group id."""
    words = {}
    panel.set_ylim(*_value_range(series))
    for index, line in enumerate(series):
        style: dict[str, Any] = {"color": SERIES[index % 5]}
        panel.plot(*zip(*line.pairs, strict=True), label=plain(line.label), **style)
        if marks or len(line.pairs) == 1:
            for step, value in line.pairs:
                name = f"{panel.get_title()} {index} {step}"
                panel.plot([step], [value], marker=MARKERS[index % 5], gid=name, **style)
                words[name] = f"{line.label}: {value:.4f} at step {step:,.0f}"
    if len(series) > 1:
        lines = [line for line in panel.lines if not line.get_gid()]
        labels = [line.label for line in series]
        columns, _ = legend_shape(labels, width)
        panel.legend(lines, labels, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1))
    return words


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


def _in_words(drawn: Mapping[str, Sequence[Series]]) -> str:
    sentences = []
    for heading, series in drawn.items():
        changes = [f"{s.label} from {s.pairs[0][1]:.4g} to {s.pairs[-1][1]:.4g}" for s in series]
        sentences.append(f"{heading}: {', '.join(changes)}.")
    return " ".join(sentences)
