"""A grid of dimensions and precisions over random vectors, beside the matrix products that it can't do without.

    python benchmarks/ranking.py [--documents 1000000] [--queries 1000] [--dims 256,...] [--precisions float32,...]

A plain product is what `queries[:, :dim] @ documents[:, :dim].T` takes in float32, in pieces whose scores stay in the
caches. The grid may take as long as one for each dimension, and one more for each other precision at that dimension.
The queries are documents with more or less noise, so that the relevant ones stand at all ranks.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from reporting import report, row
from sentence_transformers.util import cos_sim

from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.evaluation.cell_measures import measure_cells
from mmst_cli.evaluation.cell_scores import RetrievalVectors
from mmst_cli.vectors.ranking import Relevance

DIMS = [256, 192, 128, 96, 64, 32, 16]
KS = {
    "accuracy": [1, 3, 5, 10],
    "precision": [1, 3, 5, 10],
    "recall": [1, 3, 5, 10],
    "ndcg": [10],
    "mrr": [10],
    "map": [100],
}
PIECE = 1024  # documents of a plain product


def draw(documents: int, queries: int, dim: int) -> tuple[RetrievalVectors, Relevance]:
    torch.manual_seed(0)
    corpus = torch.empty(documents, dim)
    for piece in corpus.split(65_536):
        piece.copy_(torch.nn.functional.normalize(torch.randn(piece.shape), dim=1))
    answers = torch.randperm(documents)[:queries]
    noise = torch.linspace(1, 4, queries)[:, None] * torch.randn(queries, dim) / dim**0.5
    asked = torch.nn.functional.normalize(corpus[answers] + noise, dim=1)
    wanted = Relevance(torch.arange(queries), answers, torch.ones(queries).double(), torch.randperm(documents), queries)
    return RetrievalVectors(asked, corpus, cos_sim), wanted


def product(vectors: RetrievalVectors, dim: int) -> None:
    queries = vectors.queries[:, :dim].contiguous()
    for piece in vectors.corpus.split(PIECE):
        queries @ piece[:, :dim].T


def timed(work) -> tuple[float, float]:
    """Return seconds, and seconds of processor time."""
    begun = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--dims", default=",".join(map(str, DIMS)), help="the first is that of the vectors")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    dims, precisions = [int(dim) for dim in options.dims.split(",")], options.precisions.split(",")
    before = peak_mib()
    vectors, wanted = draw(options.documents, options.queries, dims[0])
    grid = [(dim, precision) for dim in dims for precision in precisions]

    def measure() -> None:
        ranges = {dim: vectors.ranges(dim) for dim in dims} if "int8" in precisions else {}
        measure_cells(vectors, wanted, grid, KS, ranges)

    found = []
    for _ in range(options.rounds):
        plain = {dim: timed(lambda dim=dim: product(vectors, dim)) for dim in dims}
        found.append({"plain": plain, "grid": timed(measure)})
    details = {"dims": dims, "precisions": precisions, "documents": options.documents, "queries": options.queries}
    tell(found, precisions, details | {"before": before, "peak": peak_mib(), "rounds": found}, vectors)


def tell(found, precisions, details, vectors) -> None:
    rows = []
    for which, name in enumerate(("time", "processor time")):
        products = [sum(seconds[which] for seconds in one["plain"].values()) for one in found]
        grids = [one["grid"][which] for one in found]
        ratio = min(grids) / (min(products) * len(precisions))
        measured = f"{ratio:.2f}x ({min(grids):.1f} s; one product a dimension {min(products):.1f} s)"
        rows.append(row(f"grid of {details['dims']} x {len(precisions)}, {name}", "1.3x", measured, ratio <= 1.3))
    held = vectors.corpus.nbytes / 2**20
    measured = f"{details['peak']:,.0f} MiB ({details['before']:,.0f} before there were vectors of {held:,.0f})"
    rows.append(row("peak memory", "4,000 MB", measured, details["peak"] * 2**20 < 4e9))
    report("ranking", rows, details)


if __name__ == "__main__":
    main()
