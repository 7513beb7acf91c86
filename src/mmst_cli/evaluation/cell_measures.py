"""Metrics of every cell: of each embedding dimension at each precision, from vectors that were encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from mmst_cli.evaluation.cell_scores import RetrievalVectors, cell_scoring
from mmst_cli.evaluation.evaluation_results import Cell
from mmst_cli.evaluation.statistics import intervals
from mmst_cli.vectors.quantise import bytes_per_vector
from mmst_cli.vectors.ranking import Relevance, metrics_per_query, relevant_ranks
from mmst_cli.vectors.rescoring import Rescoring
from mmst_cli.vectors.scoring import Scoring

TIMED_QUERIES = 32  # searched at once to measure the time of a search
TIMED_DOCUMENTS, TIMED_VALUES = 2**16, 2**23  # that are searched then, at most
BY_BITS = ("binary", "binary-rescored")

Ks = Mapping[str, Sequence[int]]


def measure_cells(
    vectors: RetrievalVectors,
    wanted: Relevance,
    grid: Sequence[tuple[int, str]],
    ks: Ks,
    ranges: Mapping[int, np.ndarray],
) -> tuple[list[Cell], dict[str, np.ndarray]]:
    """Return cells with their metrics, and cell key to the primary metric of each query, shape (queries,).

    Args:
        vectors: what was encoded.
        wanted: the relevant documents.
        grid: dimension and precision of each cell.
        ks: cut-offs of each metric; the primary one is NDCG at its largest.
        ranges: dimension to the ranges of int8, shape (2, dim).
    """
    k = max(ks["ndcg"])
    cells: list[Cell] = []
    per_query: dict[str, np.ndarray] = {}
    by_bits: dict[int, dict[str, torch.Tensor]] = {}
    deepest = max(max(cutoffs) for cutoffs in ks.values())
    for dim, precision in grid:
        scoring = cell_scoring(vectors, dim, precision, k, ranges.get(dim))
        if (dim, BY_BITS[1]) in grid and precision in BY_BITS:
            if dim not in by_bits:
                both = cell_scoring(vectors, dim, BY_BITS[1], k)
                assert isinstance(both, Rescoring)
                by_bits[dim] = dict(zip(BY_BITS, both.ranks(wanted, deepest), strict=True))
            ranks = by_bits[dim][precision]
        else:
            assert isinstance(scoring, Scoring)
            ranks = relevant_ranks(scoring, wanted, deepest)
        metrics = metrics_per_query(ranks, wanted, ks)
        stored = bytes_per_vector(dim, precision)
        means = {name: float(values.mean()) for name, values in metrics.items()}
        cell = Cell(dim, precision, stored, means, search_ms=_search_ms(scoring, dim, k))
        cells.append(cell)
        per_query[cell.key] = metrics[f"ndcg@{k}"].numpy()
    bounds = intervals(np.stack(list(per_query.values()), axis=1))
    return [
        replace(cell, interval=(float(low), float(high))) for cell, (low, high) in zip(cells, bounds, strict=True)
    ], per_query


def _search_ms(scoring: Scoring | Rescoring, dim: int, k: int) -> float:
    """Return the milliseconds a query that scoring the whole corpus and taking the ``k`` best take here.

    It is measured on the first documents of a large corpus: the time of an exact search grows with their number.
    """
    queries, documents = scoring.counts
    asked, searched = min(queries, TIMED_QUERIES), min(documents, TIMED_DOCUMENTS, max(TIMED_VALUES // dim, k))
    search = _prepared_search(scoring, slice(0, asked), slice(0, searched), k)
    begun = time.perf_counter()
    search().values.cpu()  # to the CPU, so that a GPU has finished
    return 1000 * (time.perf_counter() - begun) / asked * documents / searched


def _prepared_search(scoring: Scoring | Rescoring, queries: slice, documents: slice, k: int) -> Callable[[], Any]:
    """Return a search of some documents, with all that is made of vectors made beforehand."""
    last = scoring.fine if isinstance(scoring, Rescoring) else scoring
    asked, held = last.queries(queries), last.documents(documents)
    if not isinstance(scoring, Rescoring):
        return lambda: last.compare(asked, held).topk(min(k, len(held)), dim=1)
    coarse = _prepared_search(scoring.coarse, queries, documents, scoring.candidates)

    def search() -> Any:
        near, place = torch.unique(coarse().indices, return_inverse=True)
        return last.compare(asked, held[near]).gather(1, place).topk(min(k, place.shape[1]), dim=1)

    return search
