"""How sure a mean over queries is: intervals, paired differences, and ratios. Needs numpy alone.

The intervals are those of the Bayesian bootstrap (Rubin 1981, The Annals of Statistics 9(1)): a resample gives
the queries random weights that sum to 1, drawn from a Dirichlet distribution, where the ordinary bootstrap
gives them multinomial counts. To the queries seen it adds two unseen ones, half a query each: one at either end
of what the metric can be. For a metric of zeros and ones this is exactly the Jeffreys interval of a proportion
(Brown, Cai and DasGupta 2001, Statistical Science 16(2)), which covers where the percentile bootstrap falls
short. It also says something honest when all queries have the same value: of 100 queries that all scored 1, the
mean is shown to be above 0.975, not to be 1. No interval leaves the metric's range, so nothing is clipped.

All columns of one call share their weights, so that whatever is compared is compared on the same resamples.
`benchmarks/intervals.py` measures how often these intervals hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 1000
FLIPS = 10_000
UNSEEN = 0.5  # for how much of a query each of the two unseen ones counts
AT_A_TIME = 2**22  # random numbers held in memory at once: 32 MiB
POWER = 0.8  # of the samples of the size that `queries_needed` names, the share that settles the question
MOST_QUERIES = 10_000_000  # beyond this nobody collects them


def resampling_weights(queries: int, resamples: int, rng: np.random.Generator) -> Array:
    """Return Dirichlet weights of shape (resamples, queries + 2); the last two are of the unseen queries."""
    weights = rng.standard_exponential((resamples, queries + 2))
    weights[:, queries:] = rng.standard_gamma(UNSEEN, (resamples, 2))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def bootstrap_means(values: Array, bounds: npt.ArrayLike = (0.0, 1.0), *, seed: int = 0) -> Array:
    """Return the weighted means of each of :data:`RESAMPLES` resamples, shape (resamples, columns).

    Args:
        values: shape (queries, columns), within ``bounds``.
        bounds: least and greatest value, which the unseen queries have: shape (2,), or (2, columns).
        seed: the same seed and number of queries give the same weights.

    Raises:
        ValueError: no query, or a value that is not a number or is out of bounds.
    """
    values = _checked(values)
    ends = np.broadcast_to(np.asarray(bounds, dtype=np.float64).reshape(2, -1), (2, values.shape[1]))
    if (values < ends[0]).any() or (values > ends[1]).any():
        raise ValueError(f"a value of a query is outside {ends.min():g} to {ends.max():g}")
    return _weighted(values, ends, seed, RESAMPLES)


def intervals(values: Array, bounds: npt.ArrayLike = (0.0, 1.0), *, seed: int = 0) -> Array:
    """Return the 95% interval of each column's mean, shape (columns, 2). Arguments and errors as above."""
    return _tails(bootstrap_means(values, bounds, seed=seed), (1 - CONFIDENCE) / 2).T


@dataclass(frozen=True)
class PairedDifferences:
    """Of each cell, the mean of ``a - b`` over queries.

    Attributes:
        difference: shape (cells,).
        interval: its 95% interval, shape (cells, 2).
        p: two-sided p-value of "no difference", shape (cells,), not corrected for looking at many cells.
    """

    difference: Array
    interval: Array
    p: Array


def compare(a: Array, b: Array, *, seed: int = 0) -> PairedDifferences:
    """Compare two systems on the same queries, in each cell.

    The unseen queries of the interval differ as much as the seen one that differs most, or by all of the metric's
    range where none does: by its whole range always, intervals of models that hardly differ would be too long.

    Args:
        a: a metric between 0 and 1, shape (queries, cells).
        b: the same queries and cells of the other system.
        seed: of resamples and sign flips.

    Raises:
        ValueError: the shapes differ, or a value is no number or out of range.
    """
    a, b = _scores(a), _scores(b)
    if a.shape != b.shape:
        raise ValueError(f"shapes {a.shape} and {b.shape} differ")
    difference = a - b
    most = np.abs(difference).max(axis=0)
    most[most == 0] = 1
    interval = intervals(difference, np.stack([-most, most]), seed=seed)
    return PairedDifferences(difference.mean(axis=0), interval, sign_flip(difference, seed=seed))


def sign_flip(differences: Array, *, seed: int = 0, flips: int = FLIPS) -> Array:
    """Return two-sided p-values of the paired randomisation test, shape (cells,).

    If the systems were alike, each query's difference could as well have the other sign. The p-value is the share
    of sign patterns whose mean is at least as far from 0 as the one found (Smucker, Allan and Carterette 2007,
    CIKM: the randomisation test is the one to use for retrieval metrics). All patterns are tried where there
    are no more than ``flips``; otherwise as many at random, and the one found counts as one of them, so that p is
    never 0 (Phipson and Smyth 2010, Statistical Applications in Genetics and Molecular Biology 9(1)).

    With 10,000 queries, 35 cells and 10,000 flips this takes 0.9 s on one core; `scipy.stats.permutation_test` takes
    13.5 s, and far longer where each cell draws its own flips.

    Args:
        differences: shape (queries, cells).
        seed: of the random patterns.
        flips: how many of them.
    """
    differences = _checked(differences)
    differences = differences[differences.any(axis=1)]  # a difference of 0 is the same with either sign
    queries = len(differences)
    # A rounding error must not make a pattern that is as extreme seem less so.
    found = np.abs(differences.sum(axis=0)) - 1e-12 * np.abs(differences).sum(axis=0)
    exact = 2**queries <= flips
    patterns = _all_signs(queries) if exact else _random_signs(queries, flips, seed)
    as_extreme = np.zeros(differences.shape[1])
    for signs in patterns:
        as_extreme += (np.abs(signs @ differences) >= found).sum(axis=0)
    return np.asarray(as_extreme / 2**queries if exact else (1 + as_extreme) / (1 + flips))


def holm(p_values: npt.ArrayLike) -> Array:
    """Return p-values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6(2))."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def ratio_lower_bound(
    cell_values: Array, full_values: Array, *, confidence: float = CONFIDENCE, seed: int = 0, resamples: int = 4000
) -> tuple[Array, Array, Array]:
    """Return the ratio of means of each cell to the full one, with a lower and an upper bound: (cells,) each.

    Each bound by itself holds with ``confidence``; both together are a two-sided interval that misses twice as
    often. Of the unseen queries only the full cell answers one, and only the other cell answers the other. So a
    cell in which no query differs is not shown to be as good as the full one, but to keep 99% once there are about
    200 queries, and 99.8% by 1,000. With 50 to 400 queries a bound of 95% was measured to be wrong in 6 to 7 of 100
    trials; whoever decides by it should ask for more confidence.

    Args:
        cell_values: a metric between 0 and 1, shape (queries, cells).
        full_values: the same queries in the full cell, shape (queries,).
        confidence: of either bound.
        seed: of the resamples.
        resamples: more than for an interval, as high confidence needs the far tail.

    Raises:
        ValueError: the mean of ``full_values`` is 0, or a value is not a number or is out of range.
    """
    cells, full = _scores(cell_values), _scores(np.reshape(full_values, (-1, 1)))
    if not full.mean() > 0:
        raise ValueError("the full cell scores 0, so that nothing can be a share of it")
    both = np.hstack([cells, full])
    only_full = np.arange(both.shape[1]) == cells.shape[1]
    means = _weighted(both, np.stack([only_full, ~only_full]), seed, resamples)
    lower, upper = _tails(means[:, :-1] / means[:, -1:], 1 - confidence)
    return cells.mean(axis=0) / full.mean(), lower, upper


def queries_needed(
    cell_values: Array, full_values: Array, keep: float, *, confidence: float = CONFIDENCE
) -> int | None:
    """Return about how many queries settle whether a cell keeps ``keep`` of the full one's mean.

    It is the usual sample size for a mean (with 80% power) of what a query adds to ``cell - ratio * full``, the
    ratio's linear part, together with what the unseen queries take. Rounded up to two digits.

    Args:
        cell_values: shape (queries,).
        full_values: the same queries in the full cell, with a mean above 0.
        keep: share of the full mean, such as 0.99.
        confidence: of the bound that has to reach ``keep``.

    Returns:
        A number of queries, or None where it would be above ten million.
    """
    cell, full = np.asarray(cell_values, dtype=np.float64), np.asarray(full_values, dtype=np.float64)
    ratio = float(cell.mean() / full.mean())
    gap = abs(ratio - keep) * float(full.mean())
    if not gap:
        return None
    normal = NormalDist()
    spread = (normal.inv_cdf(confidence) + normal.inv_cdf(POWER)) ** 2 * float(np.var(cell - ratio * full))
    unseen = normal.inv_cdf((1 + confidence) / 2) ** 2 / 2  # what the Jeffreys bound of 0 in n is, times n
    # n where gap = sqrt(spread / n + (unseen / n) ** 2)
    needed = (spread + math.sqrt(spread**2 + (2 * gap * unseen) ** 2)) / (2 * gap**2)
    if needed > MOST_QUERIES:
        return None
    unit = int(10 ** max(0, math.floor(math.log10(needed)) - 1))
    return math.ceil(needed / unit) * unit


def _checked(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or not len(array):
        raise ValueError(f"values of shape (queries, columns) with at least one query are needed, not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value of a query is not a number")
    return array


def _scores(values: npt.ArrayLike) -> Array:
    array = _checked(values)
    if (array < 0).any() or (array > 1).any():
        raise ValueError("a value of a query is outside 0 to 1")
    return array


def _weighted(seen: Array, unseen: npt.NDArray[Any], seed: int, resamples: int) -> Array:
    """Return the means of ``seen`` (queries, columns) and ``unseen`` (2, columns) together in each resample."""
    rng, rows = np.random.default_rng(seed), np.concatenate([seen, unseen])
    blocks = [resampling_weights(len(seen), size, rng) @ rows for size in _blocks(resamples, len(rows))]
    return np.concatenate(blocks)


def _tails(samples: Array, each: float) -> Array:
    """Return what leaves ``each`` of the samples below, and above; shape (2, columns)."""
    # Weibull's positions count the truth as one more draw, so that few resamples don't make intervals short.
    return np.asarray(np.quantile(samples, (each, 1 - each), axis=0, method="weibull"))


def _blocks(total: int, width: int) -> Iterator[int]:
    """Yield sizes that sum to ``total``, so that rows of ``width`` numbers stay within memory."""
    step = max(1, AT_A_TIME // width)
    for first in range(0, total, step):
        yield min(step, total - first)


def _all_signs(queries: int) -> Iterator[Array]:
    patterns = np.arange(2**queries)[:, None] >> np.arange(queries)
    yield np.where(patterns & 1, -1.0, 1.0)


def _random_signs(queries: int, flips: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for size in _blocks(flips, queries):
        bits = np.unpackbits(np.frombuffer(rng.bytes(size * (-(-queries // 8))), np.uint8).reshape(size, -1), axis=1)
        yield np.where(bits[:, :queries], -1.0, 1.0)
