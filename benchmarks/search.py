"""Peak memory and time of `mmst search` over a million vectors, beside NumPy with all of them in memory.

    python benchmarks/search.py [--vectors 1000000] [--dim 256] [--queries 100]

Random vectors of length 1 in clusters, as queries given by ``--vectors``; no model is loaded. Each figure is of a
process of its own: peak resident memory above what the imports take, and seconds from opening the folder to the result.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import report, row

PART, TOP = 50_000, 10
MIB = 2**20
WAYS = {
    "float32": {},
    "float16": {"precision": "float16"},
    "int8": {"precision": "int8"},
    "binary": {"precision": "binary"},
    "binary-rescored": {"precision": "binary-rescored"},
    "float32 at a quarter of the dimensions": {"dim": 4},
    "faiss, building": {"index": "faiss"},
    "faiss, built": {"index": "faiss"},
}


def draw(rng, centres, count):
    import torch

    vectors = centres[rng.integers(len(centres), size=count)] + rng.normal(size=(count, centres.shape[1])) * 0.7
    return torch.nn.functional.normalize(torch.from_numpy(vectors.astype("float32")), dim=1)


def build(folder: Path, count: int, dim: int, queries: int) -> None:
    """Write a collection as `mmst encode` does, and queries near it."""
    import numpy as np

    from mmst_cli.encoding.shards import open_part
    from mmst_cli.storage import write_json
    from mmst_cli.vectors.quantise import VectorFormat
    from mmst_cli.vectors.vector_folder import MANIFEST, vectors_path

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2000, dim))
    parts = []
    for number, first in enumerate(range(0, count, PART)):
        rows = min(PART, count - first)
        with open_part(folder, number, VectorFormat(dim)) as writer:
            for start in range(first, first + rows, 10_000):
                ids = [f"pages/{place:08d}.png" for place in range(start, min(start + 10_000, first + rows))]
                writer.add(ids, draw(rng, centres, len(ids)))
        parts.append({"file": vectors_path(folder, number).name, "rows": rows})
    manifest = {
        "dimension": dim,
        "model_dimension": dim,
        "precision": "float32",
        "similarity": "cosine",
        "parts": parts,
    }
    write_json(folder / MANIFEST, manifest)
    np.save(folder.parent / "queries.npy", draw(rng, centres, queries).numpy())


def search(folder: Path, way: str) -> dict:
    """Search in this process, and return what it took."""
    import sentence_transformers  # noqa: F401 - which is imported at the first use
    from rich.console import Console

    from mmst_cli.searching.search import run_search
    from mmst_cli.terminal import Terminal

    before = peak()
    terminal = Terminal(Console(quiet=True), json_results=True)
    started, cpu = time.perf_counter(), time.process_time()
    options = dict(WAYS[way])
    if "dim" in options:
        options["dim"] = json.loads((folder / "_manifest.json").read_text())["dimension"] // options["dim"]
    result = run_search(folder, given=folder.parent / "queries.npy", top=TOP, terminal=terminal, **options)
    seconds = time.perf_counter() - started
    cpu = time.process_time() - cpu
    found = [[name for name, _ in hits] for hits in result.hits]
    return {"MiB": (peak() - before) / MIB, "seconds": seconds, "cpu": cpu, "found": found}


def plain(folder: Path) -> dict:
    """Hold all of it and search by NumPy."""
    import numpy as np
    import pyarrow.parquet as pq

    before, started, cpu = peak(), time.perf_counter(), time.process_time()
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    ids = [name for table in tables for name in table["id"].to_pylist()]
    corpus = np.concatenate([t["embedding"].combine_chunks().flatten().to_numpy().reshape(len(t), -1) for t in tables])
    queries = np.load(folder.parent / "queries.npy")
    scores = queries @ corpus.T
    best = np.argpartition(-scores, TOP, axis=1)[:, :TOP]
    order = np.take_along_axis(scores, best, axis=1).argsort(axis=1)[:, ::-1]
    found = [[ids[place] for place in places] for places in np.take_along_axis(best, order, axis=1)]
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"MiB": (peak() - before) / MIB, "seconds": seconds, "cpu": cpu, "found": found}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(folder: Path, way: str) -> dict:
    command = [sys.executable, __file__, "--folder", str(folder), "--way", way]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--way")
    options = parser.parse_args()
    if options.way:
        found = plain(options.folder) if options.way == "numpy" else search(options.folder, options.way)
        print(json.dumps(found))
        return
    base = Path(tempfile.mkdtemp(prefix="mmst-search-"))
    try:
        build(base / "vectors", options.vectors, options.dim, options.queries)
        measured = {way: measure(base / "vectors", way) for way in ("numpy", *WAYS)}
    finally:
        shutil.rmtree(base)
    right = measured["numpy"]["found"]
    what = f"search, {options.vectors:,} x {options.dim}, {options.queries} queries"
    rows = []
    for way, one in measured.items():
        hits = sum(len(set(a) & set(b)) for a, b in zip(one.pop("found"), right, strict=True))
        one["of_the_right"] = hits / sum(map(len, right))
        bar = way != "numpy" and "faiss" not in way  # an index is built in memory, and mapped afterwards
        said = (
            f"{one['MiB']:,.0f} MiB, {one['seconds']:.1f} s, {one['cpu']:.1f} s of CPU, {one['of_the_right']:.1%} found"
        )
        rows.append(row(f"{what}: {way}", "under 1 GB" if bar else "-", said, one["MiB"] < 1e9 / MIB if bar else None))
    report("search", rows, {"measured": measured, **vars(options)} | {"folder": None})


if __name__ == "__main__":
    main()
