import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmst_cli.encoding.shards import open_part
from mmst_cli.errors import DataError
from mmst_cli.vectors.quantise import VectorFormat
from mmst_cli.vectors.vector_folder import MANIFEST, RECORD, open_vectors, vectors_path


@pytest.fixture
def output(tmp_path):
    """Nine vectors in parts of four."""
    vectors = torch.arange(27.0).reshape(9, 3)
    parts = []
    for number, first in enumerate(range(0, 9, 4)):
        rows = vectors[first : first + 4]
        with open_part(tmp_path / "out", number, VectorFormat(3)) as writer:
            writer.add([f"id {place}" for place in range(first, first + len(rows))], rows)
        parts.append({"file": vectors_path(tmp_path, number).name, "rows": len(rows)})
    (tmp_path / "out" / RECORD).write_text("{}")
    (tmp_path / "out" / MANIFEST).write_text(json.dumps({"dimension": 3, "precision": "float32", "parts": parts}))
    return tmp_path / "out"


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_all_vectors_come_in_their_order(output, rows):
    folder = open_vectors(output)
    pieces = list(folder.pieces(rows))
    assert folder.count == 9
    assert max(len(piece.ids) for piece in pieces) == min(rows, 4)
    assert [piece.first for piece in pieces] == list(np.cumsum([0, *(len(piece.ids) for piece in pieces[:-1])]))
    assert [name for piece in pieces for name in piece.ids.tolist()] == [f"id {place}" for place in range(9)]
    np.testing.assert_array_equal(np.concatenate([p.values for p in pieces]), np.arange(27.0).reshape(9, 3))


def test_ids_are_found_by_place(output):
    assert open_vectors(output).ids_at(np.array([[8, 0], [4, 8]])) == {0: "id 0", 4: "id 4", 8: "id 8"}
    assert open_vectors(output).ids_at(np.array([], dtype=np.int64)) == {}


def rewrite(path, table):
    pq.write_table(table, path)


FAULTS = {
    "no such folder": lambda out: shutil.rmtree(out),
    "a file; name the folder": lambda out: (shutil.rmtree(out), out.write_text("")),
    r"no folder that `mmst encode` wrote \(_manifest.json is missing\)": lambda out: [
        (out / name).unlink() for name in (MANIFEST, RECORD)
    ],
    "half done; the command it was begun with ends it with --resume": lambda out: (out / MANIFEST).unlink(),
    "_manifest.json can't be read": lambda out: (out / MANIFEST).write_text("{"),
    "it doesn't say what the vectors are": lambda out: (out / MANIFEST).write_text('{"dimension": 3}'),
    "part-00001.parquet: damaged, for it is missing": lambda out: vectors_path(out, 1).unlink(),
    "part-00001.parquet: damaged, for it can't be read": lambda out: vectors_path(out, 1).write_bytes(b"PAR1"),
    "it holds 4 vectors, and _manifest.json says 1": lambda out: shutil.copy(
        vectors_path(out, 0), vectors_path(out, 2)
    ),
    "its columns are not ids and float32 of 3 dimensions": lambda out: rewrite(
        vectors_path(out, 0), pa.table({"id": ["a"] * 4, "embedding": [[1.0, 2.0, 3.0]] * 4})
    ),
    "it holds no vectors": lambda out: (out / MANIFEST).write_text(
        '{"dimension": 3, "precision": "float32", "parts": []}'
    ),
}


@pytest.mark.parametrize("sentence", FAULTS)
def test_a_folder_that_is_not_whole_is_refused(output, sentence):
    FAULTS[sentence](output)
    with pytest.raises(DataError, match=sentence):
        open_vectors(output)


def test_empty_cells_are_damage(output):
    path = vectors_path(output, 1)
    schema = pq.read_schema(path)
    vectors = pa.array([[1.0, 2.0, 3.0], None, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], schema.field("embedding").type)
    rewrite(path, pa.table([pa.array(list("abcd")), vectors], schema=schema))
    with pytest.raises(DataError, match=r"part-00001\.parquet: damaged, for an id or a vector in it is empty"):
        list(open_vectors(output).pieces(10))


def test_a_part_that_is_cut_short_within_is_damage(output):
    path = vectors_path(output, 1)
    content = path.read_bytes()
    path.write_bytes(content[:8] + b"\0" * 40 + content[48:])
    with pytest.raises(DataError, match=r"part-00001\.parquet: damaged"):
        list(open_vectors(output).pieces(10))


def test_reading_imports_no_pandas(output):
    """A Ctrl-C that comes while pandas is imported is lost: NumPy turns it into an error of the import."""
    code = f"""
import sys
from pathlib import Path
from mmst_cli.vectors.vector_folder import open_vectors
assert sum(len(piece.ids) for piece in open_vectors(Path({str(output)!r})).pieces(3)) == 9
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
