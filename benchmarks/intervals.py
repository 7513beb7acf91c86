"""How often intervals hold the truth, how often no difference is called one, and how long 10,000 queries take.

python benchmarks/intervals.py [--trials 4000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from reporting import report, row

from mmst_cli.evaluation.statistics import bootstrap_means, compare, intervals, ratio_lower_bound

SIZES = (50, 100, 200, 400)  # queries
# What single queries score: values, and how often each comes.
KINDS = {
    "0 or 1, mean 0.9": ([0, 1], [0.1, 0.9]),
    "0 or 1, mean 0.97": ([0, 1], [0.03, 0.97]),
    "mostly right": ([0, 0.63, 1], [0.1, 0.2, 0.7]),
    "mostly wrong": ([0, 0.3, 1], [0.85, 0.1, 0.05]),
    "ndcg": ([0, 0.43, 0.63, 1], [0.08, 0.07, 0.15, 0.7]),
}
BARRED = [name for name in KINDS if name != "0 or 1, mean 0.97"]  # three misses in 100 queries: too coarse for a bar
LOST = 0.1  # share of queries that the smaller cell loses


def draw(kind, queries, trials, rng):
    values, share = KINDS[kind]
    return rng.choice(values, size=(queries, trials), p=share), float(np.dot(values, share))


def held(interval, truth) -> float:
    return float(((interval[:, 0] <= truth) & (truth <= interval[:, 1])).mean())


def in_blocks(measure, *columns):
    """Measure 50 trials at a time, each time with other resamples, so that no chance is shared by all."""
    blocks = zip(*(np.array_split(values, values.shape[1] // 50, axis=1) for values in columns), strict=True)
    return np.concatenate([measure(*block, seed=seed) for seed, block in enumerate(blocks)])


def plain_percentile(values, seed):
    """Return the ordinary bootstrap's percentile interval of each column's mean, to set beside ours."""
    queries = len(values)
    counts = np.random.default_rng(seed).multinomial(queries, np.full(queries, 1 / queries), 1000)
    return np.quantile(counts @ values / queries, (0.025, 0.975), axis=0).T


def coverage(trials: int, details: dict) -> list[dict]:
    rng, rows = np.random.default_rng(1), []
    for kind in KINDS:
        ours, plain = {}, {}
        for queries in SIZES:
            values, mean = draw(kind, queries, trials, rng)
            ours[queries] = held(in_blocks(intervals, values), mean)
            plain[queries] = held(in_blocks(plain_percentile, values), mean)
        details[f"coverage, {kind}"] = {"ours": ours, "percentile": plain}
        measured = f"{percents(ours)} (percentile bootstrap: {percents(plain)})"
        reached = all(0.93 <= share <= 0.97 for share in ours.values()) if kind in BARRED else None
        rows.append(row(f"intervals hold the mean: {kind}", "93 to 97%" if kind in BARRED else "-", measured, reached))
    return rows


def false_positives(trials: int, details: dict) -> dict:
    rng, called = np.random.default_rng(2), {}
    for queries in SIZES:
        a, b = (draw("ndcg", queries, trials, rng)[0] for _ in range(2))
        p = in_blocks(lambda *pair, seed: compare(*pair, seed=seed).p, a, b)
        called[queries] = float((p <= 0.05).mean())
    details["false positives"] = called
    reached = all(0.03 <= share <= 0.07 for share in called.values())
    return row("no difference called one, p <= 0.05", "3 to 7%", percents(called), reached)


def wrong_bounds(trials: int, details: dict) -> dict:
    rng, wrong = np.random.default_rng(3), {}
    for queries in SIZES:
        too_high = 0
        for trial in range(trials):
            full = draw("ndcg", queries, 1, rng)[0]
            cell = np.where(rng.random(full.shape) < LOST, 0, full)
            lower = ratio_lower_bound(cell, full[:, 0], seed=trial, resamples=1000)[1]
            too_high += bool(lower[0] > 1 - LOST)
        wrong[queries] = too_high / trials
    details["ratio's lower bound above the truth"] = wrong
    return row("a ratio's lower bound is above the truth", "-", f"{percents(wrong)} (nominal 5%)", None)


def timed(details: dict) -> list[dict]:
    rng = np.random.default_rng(4)
    a, b = rng.random((10_000, 35)), rng.random((10_000, 35))
    jobs = {
        "1,000 resamples, 1 cell": (lambda: bootstrap_means(a[:, :1]), 1.0),
        "intervals, 35 cells": (lambda: intervals(a), 3.0),
        "comparison with 10,000 flips, 35 cells": (lambda: compare(a, b), None),
        "bounds of ratios, 4,000 resamples, 35 cells": (lambda: ratio_lower_bound(a, a[:, 0]), None),
    }
    rows = []
    for what, (job, most) in jobs.items():
        begun = time.perf_counter()
        job()
        seconds = details[what] = time.perf_counter() - begun
        must = f"{most:g} s" if most else "-"
        rows.append(row(f"10,000 queries: {what}", must, f"{seconds:.2f} s", seconds <= most if most else None))
    return rows


def percents(shares: dict[int, float]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares.values()) + "%"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    details = {"queries": SIZES, "trials": trials}
    rows = coverage(trials, details)
    rows += [false_positives(trials, details), wrong_bounds(min(trials, 1000), details), *timed(details)]
    report("intervals", rows, details)


if __name__ == "__main__":
    main()
