import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmst_cli.encoding.shards import open_part
from mmst_cli.vectors.quantise import VectorFormat, ranges_of
from mmst_cli.vectors.ranges import Ranges, save_ranges
from mmst_cli.vectors.vector_folder import MANIFEST, RANGES, open_vectors, vectors_path


@pytest.fixture
def store(tmp_path):
    """A function that writes vectors as `mmst encode` does, some to a part, and opens the folder."""

    def write(vectors, ids=None, precision="float32", similarity="cosine", rows=7, name="vectors", **manifest):
        folder = tmp_path / name
        vectors = np.asarray(vectors, dtype=np.float32)
        ids = [f"{place:03d}" for place in range(len(vectors))] if ids is None else ids
        dim = vectors.shape[1]
        ranges = ranges_of(vectors) if precision == "int8" else None
        if ranges is not None:
            save_ranges(folder / RANGES, Ranges("some/model", dim, len(vectors), False, {dim: ranges}))
        parts = []
        for number, first in enumerate(range(0, len(vectors), rows)):
            with open_part(folder, number, VectorFormat(dim, precision, ranges)) as writer:
                part = slice(first, first + rows)
                writer.add(ids[part], torch.from_numpy(vectors[part]))
            parts.append({"file": vectors_path(folder, number).name, "rows": writer.record.rows})
        told = {"dimension": dim, "model_dimension": dim, "precision": precision, "similarity": similarity}
        (folder / MANIFEST).write_text(json.dumps(told | {"parts": parts} | manifest))
        return open_vectors(folder)

    return write


@pytest.fixture
def look_for(tmp_path, quiet):
    """A function that searches for vectors, and returns the ids and scores found for each."""
    from mmst_cli.searching.search import run_search

    def find(folder, queries, **options):
        np.save(tmp_path / "queries.npy", np.asarray(queries, dtype=np.float32))
        return run_search(folder, given=tmp_path / "queries.npy", terminal=quiet, **options).hits

    return find


@pytest.fixture
def spoil():
    """A function that puts NaN and infinity into vectors of a part, and opens the folder again."""

    def write(folder, part, rows):
        path = folder.parts[part][0]
        table = pq.read_table(path)
        vectors = np.array(table["embedding"].to_pylist(), dtype=np.float32)
        vectors[rows[0], 0], vectors[rows[1:], -1] = np.nan, -np.inf
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        pq.write_table(pa.table([table["id"], flat], schema=table.schema), path)
        return open_vectors(folder.path)

    return write
