"""Which size to ship: the smallest cell that is shown to keep what the full one scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from mmst_cli.evaluation.evaluation_request import DEFAULT_KEEP
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult
from mmst_cli.evaluation.statistics import CONFIDENCE, queries_needed, ratio_lower_bound
from mmst_cli.runs import run_of_model
from mmst_cli.shell_words import quoted

ONE_SIDED = 1 - (1 - CONFIDENCE) / 2  # how sure each end of a 95% interval is by itself
RESCORED = "binary-rescored"  # stored as binary; the float query rescores what Hamming distance finds


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to ship, and how sure that is.

    Attributes:
        dim: embedding dimension to ship: the full one's where no smaller cell is shown to keep enough.
        precision: likewise.
        bytes_per_vector: of one stored document vector.
        keep: share of the full cell's primary metric that was asked for.
        ratio: share that the cell to ship has; None where the full cell scores 0.
        lower: the lower bound of the 95% interval of ``ratio``.
        saves: share of the full cell's bytes that are saved.
        shown: whether a smaller cell is shown to keep enough.
        candidate: where not, the smallest cell that may well keep it, such as ``64 int8``.
        queries_needed: about how many queries would settle it for the candidate.
        sentence: all this for a person.
        command: encodes with the cell to ship.
    """

    dim: int
    precision: str
    bytes_per_vector: int
    keep: float
    ratio: float | None = None
    lower: float | None = None
    saves: float = 0.0
    shown: bool = False
    candidate: str | None = None
    queries_needed: int | None = None
    sentence: str
    command: str | None = None


@dataclass(frozen=True)
class _Share:
    """What a smaller cell keeps of the full one's metric, and how sure that is."""

    cell: Cell
    ratio: float
    lower: float
    upper: float


def recommend(evaluation: Evaluation, keep: float = DEFAULT_KEEP) -> Recommendation | None:
    """Return the smallest cell that is shown to keep ``keep`` of the full one's primary metric.

    Shown means that the lower bound of the 95% paired bootstrap interval of the ratio of means is ``keep`` or
    more, each cell's interval by itself. Taking the smallest of many cells that pass is a little bolder than one
    look: of single cells that keep just less than asked 2% were shown in simulation, of grids of nine such cells 20%.

    Args:
        evaluation: a result with its values per query.
        keep: share of the full cell's metric, above 0 and at most 1.

    Returns:
        What to ship, or None where there are no values per query or nothing smaller was measured.
    """
    result, full = evaluation.result, evaluation.result.full
    smaller = [
        cell
        for cell in result.cells[1:]
        if cell.key in evaluation.per_query and cell.bytes_per_vector < full.bytes_per_vector
    ]
    if not smaller or full.key not in evaluation.per_query:
        return None
    if not evaluation.per_query[full.key].mean() > 0:
        return _nothing_to_keep(result, keep)
    shares = _shares(evaluation, smaller)
    shown = [share for share in shares if share.lower >= keep]
    if shown:
        return _shown(result, min(shown, key=_size), keep)
    return _not_shown(evaluation, _candidate(shares, keep), keep)


def advised(evaluations: Mapping[str, Evaluation], keep: float = DEFAULT_KEEP) -> dict[str, Evaluation]:
    """Return evaluations with a recommendation where there is something to choose."""
    found = {}
    for name, evaluation in evaluations.items():
        advice = recommend(evaluation, keep)
        recommendation = asdict(advice) if advice else None
        found[name] = replace(evaluation, result=replace(evaluation.result, recommendation=recommendation))
    return found


def encode_command(model: str, cell: Cell) -> str:
    """Return the `mmst encode` command that stores vectors as a cell has them."""
    run = run_of_model(model)
    name = quoted(run.path if run else model)
    precision = "binary" if cell.precision == RESCORED else cell.precision
    return f"mmst encode {name} INPUT --output vectors --dim {cell.dim} --precision {precision}"


def _shares(evaluation: Evaluation, cells: Sequence[Cell]) -> list[_Share]:
    values = np.column_stack([evaluation.per_query[cell.key] for cell in cells])
    full = evaluation.per_query[evaluation.result.full.key]
    ratio, lower, upper = ratio_lower_bound(values, full, confidence=ONE_SIDED)
    return [_Share(cell, *map(float, of)) for cell, *of in zip(cells, ratio, lower, upper, strict=True)]


def _size(share: _Share) -> tuple[int, float]:
    return share.cell.bytes_per_vector, -share.ratio


def _candidate(shares: Sequence[_Share], keep: float) -> _Share | None:
    """Return the smallest cell that keeps enough as far as these queries go, or else the best not ruled out."""
    possible = [share for share in shares if share.upper >= keep]
    likely = [share for share in possible if share.ratio >= keep]
    return min(likely, key=_size) if likely else max(possible, key=lambda share: share.ratio, default=None)


def _shown(result: EvaluationResult, share: _Share, keep: float) -> Recommendation:
    cell, full = share.cell, result.full
    saves = 1 - cell.bytes_per_vector / full.bytes_per_vector
    sentence = (
        f"Ship {_named(cell)}: {cell.bytes_per_vector:,} bytes a vector, {saves:.1%} less than "
        f"{full.bytes_per_vector:,}, and shown to keep at least {_percent(keep)} of {result.primary_metric} "
        f"({result.primary(cell):.4f} of {result.primary(full):.4f}; ratio {share.ratio:.4f}, at least "
        f"{_floored(share.lower)} with 95% confidence over {_queries(result.queries)})."
    )
    if cell.precision == RESCORED:
        sentence += " The vectors are stored as binary, and search must rescore what it finds with the float query."
    return Recommendation(
        dim=cell.dim,
        precision=cell.precision,
        bytes_per_vector=cell.bytes_per_vector,
        keep=keep,
        ratio=share.ratio,
        lower=share.lower,
        saves=saves,
        shown=True,
        sentence=sentence,
        command=encode_command(result.model, cell),
    )


def _not_shown(evaluation: Evaluation, candidate: _Share | None, keep: float) -> Recommendation:
    result = evaluation.result
    metric, full = result.primary_metric, result.full
    needed = None
    if candidate is None:
        why = f"no smaller size keeps {_percent(keep)} of {metric}, as {_queries(result.queries)} show"
    else:
        values = evaluation.per_query
        needed = queries_needed(values[candidate.cell.key], values[full.key], keep, confidence=ONE_SIDED)
        if needed is not None and needed <= result.queries:  # so many should have done, and by bad luck did not
            needed = 2 * result.queries
        why = _too_few(result, candidate, keep, needed)
    return Recommendation(
        dim=full.dim,
        precision=full.precision,
        bytes_per_vector=full.bytes_per_vector,
        keep=keep,
        ratio=1.0,
        lower=1.0,
        candidate=candidate.cell.key if candidate else None,
        queries_needed=needed,
        sentence=f"Ship {_named(full)}, {full.bytes_per_vector:,} bytes a vector: {why}.",
        command=encode_command(result.model, full),
    )


def _too_few(result: EvaluationResult, candidate: _Share, keep: float, needed: int | None) -> str:
    cell = candidate.cell
    sure = f"at least {_floored(candidate.lower)} with 95% confidence"
    chance = "may well keep it" if candidate.ratio >= keep else "is not ruled out"
    verb = "is" if result.queries == 1 else "are"
    settle = f"about {needed:,} queries would settle it" if needed else "it is too close to settle by more queries"
    return (
        f"{_queries(result.queries)} {verb} too few to show that a smaller size keeps {_percent(keep)} of "
        f"{result.primary_metric}. {_named(cell)} ({cell.bytes_per_vector:,} bytes) {chance}: ratio "
        f"{candidate.ratio:.4f}, {sure}; {settle}"
    )


def _nothing_to_keep(result: EvaluationResult, keep: float) -> Recommendation:
    full = result.full
    why = f"{result.primary_metric} is 0 at {_named(full)}, so there is nothing to keep"
    return Recommendation(
        dim=full.dim,
        precision=full.precision,
        bytes_per_vector=full.bytes_per_vector,
        keep=keep,
        sentence=f"No size is recommended: {why}.",
    )


def _named(cell: Cell) -> str:
    kind = "binary, rescored" if cell.precision == RESCORED else cell.precision
    return f"{cell.dim} dimensions as {kind}"


def _queries(number: int) -> str:
    return "1 query" if number == 1 else f"{number:,} queries"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if round(1000 * share, 6).is_integer() else f"{100 * share:g}%"


def _floored(bound: float) -> str:
    """Return a lower bound with four digits that doesn't promise more than there is."""
    return f"{math.floor(bound * 10_000) / 10_000:.4f}"
