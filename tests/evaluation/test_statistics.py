import itertools

import numpy as np
import pytest

from mmst_cli.evaluation import statistics
from mmst_cli.evaluation.statistics import (
    bootstrap_means,
    compare,
    holm,
    intervals,
    queries_needed,
    ratio_lower_bound,
    resampling_weights,
    sign_flip,
)

TRIALS = 1000
# What single queries score: values, and how often each comes.
NDCG = [0, 0.43, 0.63, 1], [0.08, 0.07, 0.15, 0.7]
KINDS = {
    "found or not": ([0, 1], [0.1, 0.9]),
    "mostly right": ([0, 0.63, 1], [0.1, 0.2, 0.7]),
    "mostly wrong": ([0, 0.3, 1], [0.85, 0.1, 0.05]),
    "ndcg": NDCG,
}


def trials(kind, queries, rng):
    values, share = kind
    return rng.choice(values, size=(queries, TRIALS), p=share), float(np.dot(values, share))


def in_blocks(measure, *columns):
    """Measure 50 trials at a time, each time with other resamples, so that no chance is shared by all."""
    blocks = zip(*(np.split(values, TRIALS // 50, axis=1) for values in columns), strict=True)
    return [measure(*block, seed=seed) for seed, block in enumerate(blocks)]


@pytest.mark.parametrize("queries", [50, 100, 200, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_hold_the_mean_as_often_as_they_say(kind, queries):
    rng = np.random.default_rng(11)
    values, mean = trials(KINDS[kind], queries, rng)
    low, high = np.concatenate(in_blocks(intervals, values)).T
    assert 0.93 <= ((low <= mean) & (mean <= high)).mean() <= 0.97
    assert low.min() >= 0 and high.max() <= 1


@pytest.mark.parametrize("queries", [50, 100, 400])
def test_no_difference_is_called_one_in_about_five_of_a_hundred(queries):
    rng = np.random.default_rng(12)
    a, b = (trials(NDCG, queries, rng)[0] for _ in range(2))
    found = in_blocks(compare, a, b)
    assert 0.03 <= (np.concatenate([block.p for block in found]) <= 0.05).mean() <= 0.07
    low, high = np.concatenate([block.interval for block in found]).T
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


@pytest.mark.parametrize("queries", [100, 400])
def test_paired_intervals_hold_a_difference(queries):
    rng = np.random.default_rng(13)
    a, _ = trials(NDCG, queries, rng)
    b = np.where(rng.random(a.shape) < 0.1, 0, a)
    truth = 0.1 * float(np.dot(*NDCG))
    low, high = np.concatenate([found.interval for found in in_blocks(compare, a, b)]).T
    assert 0.93 <= ((low <= truth) & (truth <= high)).mean() <= 0.97


def test_bounds_of_a_ratio_are_each_wrong_in_about_five_of_a_hundred():
    rng = np.random.default_rng(14)
    lower, upper = np.empty(TRIALS), np.empty(TRIALS)
    for trial in range(TRIALS):
        full = rng.choice(NDCG[0], size=200, p=NDCG[1])
        cell = np.where(rng.random(200) < 0.1, 0, full)
        _, lower[trial], upper[trial] = map(
            float, map(np.squeeze, ratio_lower_bound(cell[:, None], full, seed=trial, resamples=500))
        )
    assert 0.03 <= (lower > 0.9).mean() <= 0.08
    assert 0.02 <= (upper < 0.9).mean() <= 0.07


def test_weights_sum_to_one_and_count_each_unseen_query_half():
    weights = resampling_weights(30, 20_000, np.random.default_rng(0))
    assert weights.shape == (20_000, 32)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.mean(axis=0), [1 / 31] * 30 + [0.5 / 31] * 2, rtol=0.05)


def test_columns_are_resampled_together_and_by_the_seed(monkeypatch):
    values = np.random.default_rng(0).random((40, 2))
    both = bootstrap_means(np.column_stack([values, values[:, :1]]))
    np.testing.assert_array_equal(both[:, 0], both[:, 2])
    np.testing.assert_array_equal(both[:, :2], bootstrap_means(values))
    assert not np.array_equal(both[:, :2], bootstrap_means(values, seed=1))
    monkeypatch.setattr(statistics, "AT_A_TIME", 100)  # blocks of two resamples
    blocked = bootstrap_means(values)
    assert blocked.shape == (1000, 2)
    np.testing.assert_allclose(blocked.mean(axis=0), both[:, :2].mean(axis=0), atol=0.01)


@pytest.mark.parametrize(("value", "low", "high"), [(1.0, 0.9752, 1.0), (0.0, 0.0, 0.0248)])
def test_all_alike_is_an_interval_too(value, low, high):
    found = intervals(np.full((100, 1), value))[0]
    np.testing.assert_allclose(found, [low, high], atol=0.004)
    assert found[0] < found[1]


def test_of_zeros_and_ones_it_is_the_jeffreys_interval():
    beta = np.random.default_rng(5).beta(90.5, 10.5, 1_000_000)
    values = np.repeat([1.0, 0.0], [90, 10])[:, None]
    np.testing.assert_allclose(intervals(values)[0], np.quantile(beta, [0.025, 0.975]), atol=0.006)


def test_one_query_is_little_to_go_by():
    low, high = intervals(np.array([[0.63]]))[0]
    assert low < 0.3 and high > 0.8
    found = compare(np.array([[1.0]]), np.array([[0.0]]))
    assert found.p == 1
    assert found.interval[0, 0] < 0 < found.interval[0, 1]
    ratio, lower, upper = ratio_lower_bound(np.array([[0.5]]), np.array([0.5]))
    assert ratio == 1 and lower < 0.7 and upper > 1.3


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.5, -0.1])
def test_what_is_no_score_is_refused(bad):
    values = np.array([[0.5], [bad]])
    for refuse in (intervals, lambda v: compare(v, v), lambda v: ratio_lower_bound(v, np.ones(2))):
        with pytest.raises(ValueError, match="a value of a query is"):
            refuse(values)


def test_shapes_are_checked():
    for wrong in (np.empty((0, 1)), np.ones(3)):
        with pytest.raises(ValueError, match="at least one query"):
            intervals(wrong)
    with pytest.raises(ValueError, match="differ"):
        compare(np.ones((2, 1)), np.ones((3, 1)))


def test_few_queries_are_flipped_in_every_way():
    differences = np.random.default_rng(3).choice([-0.37, 0, 0.1, 0.63], size=(9, 4))
    found = np.abs(differences.sum(axis=0))
    ways = [np.abs(np.array(signs) @ differences) >= found - 1e-9 for signs in itertools.product([1, -1], repeat=9)]
    np.testing.assert_allclose(sign_flip(differences), np.mean(ways, axis=0))


def test_random_flips_agree_with_all_of_them():
    differences = np.random.default_rng(4).normal(0.3, 1, (13, 5))
    np.testing.assert_allclose(sign_flip(differences, flips=8000), sign_flip(differences), atol=0.02)
    np.testing.assert_array_equal(sign_flip(differences, flips=99), sign_flip(differences, flips=99))


def test_p_is_never_0_and_1_without_a_difference():
    differences = np.column_stack([np.ones(500), np.zeros(500)])
    np.testing.assert_allclose(sign_flip(differences), [1 / 10_001, 1])


def test_holm_as_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, and no p is below one before it.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    np.testing.assert_allclose(holm([0.02]), [0.02])


def test_a_ratio_is_paired():
    rng = np.random.default_rng(6)
    full = rng.choice(NDCG[0], size=2000, p=NDCG[1])
    ratio, lower, upper = ratio_lower_bound(np.column_stack([full, full * 0.95, rng.permutation(full)]), full)
    np.testing.assert_allclose(ratio, [1, 0.95, 1])
    width = upper - lower
    assert width[0] < 0.005 and width[1] < 0.005 < 0.03 < width[2]
    with pytest.raises(ValueError, match="scores 0"):
        ratio_lower_bound(full[:, None], np.zeros(2000))


def test_more_confidence_is_a_lower_bound():
    full = np.random.default_rng(7).choice(NDCG[0], size=300, p=NDCG[1])
    cell = np.where(np.arange(300) % 30 == 0, 0, full)[:, None]
    bounds = [float(ratio_lower_bound(cell, full, confidence=c)[1][0]) for c in (0.9, 0.95, 0.99)]
    assert bounds == sorted(bounds, reverse=True)


def test_as_many_queries_as_are_said_to_be_needed_mostly_settle_it():
    rng = np.random.default_rng(8)

    def measured(queries):
        full = rng.choice(NDCG[0], size=queries, p=NDCG[1])
        return np.where(rng.random(queries) < 0.02, 0, full), full

    needed = queries_needed(*measured(100_000), 0.96)
    assert needed is not None and needed == float(f"{needed:.1e}")
    settled = []
    for _ in range(100):
        cell, full = measured(needed)
        settled.append(ratio_lower_bound(cell[:, None], full, resamples=500)[1][0] >= 0.96)
    assert 0.65 <= np.mean(settled) <= 0.97


def test_what_no_number_of_queries_settles():
    full = np.ones(100)
    assert queries_needed(full * 0.99, full, 0.99) is None
    assert queries_needed(full, full, 1.0) is None
    assert queries_needed(full, full, 0.99) == 200  # 1.92 / 0.01, rounded up
