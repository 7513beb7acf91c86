"""Whether a model is better than another, or than before training, on the same queries: `mmst eval A --compare B`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmst_cli.errors import ConfigError
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, load_evaluation
from mmst_cli.evaluation.query_pairing import UNKNOWN, paired_by_content, query_keys, same_queries
from mmst_cli.evaluation.statistics import CONFIDENCE, Array, compare, holm
from mmst_cli.runs import RunFolder

MOVED = 5  # queries shown of those that gained, and of those that lost
NAMED = 3  # ids shown of queries that only one side has


@dataclass(frozen=True)
class CellComparison:
    """One cell of both: means of the primary metric, and their difference ``a - b``.

    ``interval`` is the 95% interval of the difference by itself, ``p`` that of a two-sided randomisation test,
    and ``p_holm`` the same, corrected for the number of cells.
    """

    dim: int
    precision: str
    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float


@dataclass(frozen=True)
class MovedQuery:
    """A query with its metric on either side; ``text`` where it is known."""

    query: str
    a: float
    b: float
    text: str | None = None


@dataclass(frozen=True)
class Comparison:
    """What came of comparing two evaluations; every difference is that of ``name_a`` less ``name_b``.

    Attributes:
        name_a: how the first is called.
        name_b: how the second is called.
        evaluator: its name in the config of the first.
        metric: the primary metric.
        queries: how many both answered.
        cells: those that both have, the largest first.
        gained: the queries at which the first is most ahead in the largest cell, at most five.
        lost: those at which it is most behind.
        verdict: one sentence.
        note: a sentence about what can't be told of the two; None without one.
    """

    name_a: str
    name_b: str
    evaluator: str
    metric: str
    queries: int
    cells: list[CellComparison]
    gained: list[MovedQuery]
    lost: list[MovedQuery]
    verdict: str
    note: str | None = None


def load_comparable(path: str, evaluator: str) -> Evaluation | None:
    """Return what was saved at ``path``, or None where that is a model, or a run that wasn't evaluated so.

    Args:
        path: a result's JSON file, or a run folder.
        evaluator: which of a run's results to take.

    Raises:
        RunError: a JSON file isn't there or holds no result.
    """
    if path.endswith(".json"):
        return load_evaluation(Path(path))
    run = RunFolder(Path(path))
    saved = run.evaluations / f"{evaluator}.json"
    return load_evaluation(saved) if run.is_run() and saved.is_file() else None


def compare_evaluations(
    a: Evaluation, b: Evaluation, name_a: str, name_b: str, text_of: Callable[[str], str | None] | None = None
) -> Comparison:
    """Compare two evaluations of the same queries.

    Args:
        a: the one that the differences speak for.
        b: what it is compared with; its queries may be in another order.
        name_a: what to call the first.
        name_b: what to call the second.
        text_of: reads the text of a query by its id, to show beside it.

    Raises:
        ConfigError: the metric, documents or queries differ, no cell is in both, or one has no values per query.
    """
    place = _same_queries(a, b, name_a, name_b)
    cells = [cell for cell in a.result.cells if cell.key in a.per_query and cell.key in b.per_query]
    if not cells:
        has_a, has_b = (", ".join(cell.key for cell in side.result.cells) for side in (a, b))
        raise ConfigError(f"--compare: no dimension and precision is in both: {name_a} has {has_a}; {name_b} {has_b}.")
    ours = np.column_stack([a.per_query[cell.key] for cell in cells])
    theirs = np.column_stack([b.per_query[cell.key] for cell in cells])[place]
    compared = _compare_cells(cells, ours, theirs)
    gained, lost = _moved(a.query_ids, ours[:, 0], theirs[:, 0], text_of or (lambda query: None))
    metric, queries = a.result.primary_metric, len(ours)
    verdict = _compared_in_words(name_a, name_b, metric, queries, compared)
    note = None if paired_by_content(a, b) else UNKNOWN
    return Comparison(name_a, name_b, a.result.evaluator, metric, queries, compared, gained, lost, verdict, note)


def _same_queries(a: Evaluation, b: Evaluation, name_a: str, name_b: str) -> list[int]:
    """Return where each query of ``a`` is in ``b``, having checked that they measure the same."""
    for name, side in ((name_a, a), (name_b, b)):
        if not side.per_query:
            raise ConfigError(f"--compare: {name} has no values per query. Evaluate it again with `mmst eval`.")
    if a.result.primary_metric != b.result.primary_metric:
        raise ConfigError(
            f"--compare: {name_a} was measured by {a.result.primary_metric}, {name_b} by {b.result.primary_metric}. "
            "Evaluate both with the same config."
        )
    keys_a, keys_b = query_keys(a, b)
    if Counter(keys_a) != Counter(keys_b):
        only_a, only_b = _only(a, keys_a, keys_b), _only(b, keys_b, keys_a)
        raise ConfigError(
            f"--compare: the queries differ: {name_a} has {len(keys_a):,}, {_count(only_a)} of its own; "
            f"{name_b} has {len(keys_b):,}, {_count(only_b)} of its own. Evaluate both on the same data."
        )
    if a.result.corpus != b.result.corpus:
        raise ConfigError(
            f"--compare: {name_a} was searched for among {a.result.corpus:,} documents, {name_b} among "
            f"{b.result.corpus:,}. Evaluate both on the same data."
        )
    place_of = {key: index for index, key in enumerate(keys_b)}
    places = [place_of[key] for key in keys_a]
    known = a.answers and b.answers  # of older files they aren't
    if other := [a.query_ids[i] for i, place in enumerate(places) if known and a.answers[i] != b.answers[place]]:
        raise ConfigError(
            f"--compare: {name_a} and {name_b} have the same queries, but {_count(other)} of them have other answers,"
            " or are searched for among other documents. Evaluate both on the same data."
        )
    return places


def _only(evaluation: Evaluation, keys: Sequence[Hashable], others: Sequence[Hashable]) -> list[str]:
    known = set(others)
    return [query for query, key in zip(evaluation.query_ids, keys, strict=True) if key not in known]


def _count(queries: Sequence[str]) -> str:
    if not queries:
        return "none"
    more = ", ..." if len(queries) > NAMED else ""
    return f"{len(queries):,} ({', '.join(queries[:NAMED])}{more})"


def _compare_cells(cells: Sequence[Cell], a: Array, b: Array) -> list[CellComparison]:
    paired = compare(a, b)
    corrected = holm(paired.p)
    return [
        CellComparison(
            dim=cell.dim,
            precision=cell.precision,
            a=float(a[:, index].mean()),
            b=float(b[:, index].mean()),
            difference=float(paired.difference[index]),
            interval=(float(paired.interval[index, 0]), float(paired.interval[index, 1])),
            p=float(paired.p[index]),
            p_holm=float(corrected[index]),
        )
        for index, cell in enumerate(cells)
    ]


def _moved(
    ids: Sequence[str], a: Array, b: Array, text_of: Callable[[str], str | None]
) -> tuple[list[MovedQuery], list[MovedQuery]]:
    difference = np.round(a - b, 12)  # so that equal differences stay in the order of the queries

    def first(order: npt.NDArray[np.intp], sign: int) -> list[MovedQuery]:
        places = [int(i) for i in order[:MOVED] if sign * difference[i] > 0]
        return [MovedQuery(ids[i], float(a[i]), float(b[i]), text_of(ids[i])) for i in places]

    return first(np.argsort(-difference, kind="stable"), 1), first(np.argsort(difference, kind="stable"), -1)


def _compared_in_words(name_a: str, name_b: str, metric: str, queries: int, cells: Sequence[CellComparison]) -> str:
    first = cells[0]
    corrected = f" after Holm's correction for {len(cells)} cells" if len(cells) > 1 else ""
    probability = f"p = {p_in_words(first.p_holm)}".replace("= <", "< ")
    figures = (
        f"{metric} {first.a:.4f} against {first.b:.4f}, {first.difference:+.4f}, 95% interval "
        f"{first.interval[0]:+.4f} to {first.interval[1]:+.4f}, {probability}{corrected}, {queries:,} queries"
    )
    at = f"at {first.dim} dimensions in {first.precision}"
    if first.p_holm >= 1 - CONFIDENCE:
        about = f"{name_a} is no different from {name_b} {at}, as far as these queries show ({figures})"
    else:
        about = f"{name_a} is {'better' if first.difference > 0 else 'worse'} than {name_b} {at} ({figures})"
    if len(cells) == 1:
        return f"{about}."
    sure = [cell for cell in cells if cell.p_holm < 1 - CONFIDENCE]
    better = sum(cell.difference > 0 for cell in sure)
    return f"{about}; of all {len(cells)} cells it is better in {better} and worse in {len(sure) - better}."


def verdict(before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> str:
    """Say in a sentence an evaluator whether the model became better, worse, or neither that shows."""
    return " ".join(_became(before.get(name), found) for name, found in after.items()) or "Nothing was evaluated."


def _became(before: Evaluation | None, after: Evaluation) -> str:
    result = after.result
    new, key = result.primary(result.full), result.full.key
    about = f"{result.evaluator}: {result.primary_metric} at {result.full.dim} dimensions"
    old_cell = before.result.cell(result.full.dim) if before else None
    if before is None or old_cell is None:
        return f"{about} is {new:.4f}."
    old = before.result.primary(old_cell)
    figures = f"{old:.4f} before, {new:.4f} after"
    if not math.isfinite(new - old):
        return f"{about} can't be compared with before ({figures}): it is not defined for these vectors."
    if key in before.per_query and not same_queries(before, after):  # of a run that was resumed with other rows
        return f"{about} is {new:.4f}; what was measured before training was measured on other queries."
    if key not in before.per_query:
        word = "better" if new > old else "worse" if new < old else "no different"
        return f"{about} is {word} than before ({figures}); no interval is known for this metric."
    paired = compare(after.per_query[key][:, None], before.per_query[key][:, None])
    low, high = paired.interval[0]
    interval = f"{new - old:+.4f}, 95% interval {low:+.4f} to {high:+.4f} over {len(after.query_ids)} queries"
    if low <= 0 <= high:
        return f"{about} is no different from before, as far as these queries show ({figures}: {interval})."
    return f"{about} is {'better' if new > old else 'worse'} than before ({figures}: {interval})."


def p_in_words(value: float) -> str:
    """Return a p-value with three digits."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
