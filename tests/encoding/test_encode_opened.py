"""The output folder as a whole, in whatever opens folders of parquet files."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from mmst_cli.searching.search import run_search
from mmst_cli.vectors.vector_folder import BEFORE, ERRORS, MANIFEST, RANGES, RECORD

DOCUMENT = Path(__file__).parents[2] / "docs" / "vectors-elsewhere.md"


@pytest.fixture
def output(folder, encode, tmp_path):
    """Three parts, with all that may lie beside them."""
    (folder / "pages" / "0.png").write_bytes(b"no image")
    encode(["pages"], folder / "whole", rows_per_part=2)
    ranges = folder / "whole" / "part-00001.parquet"
    encode(["pages"], folder / "out", rows_per_part=2, precision="int8", ranges=ranges)
    assert {RECORD, MANIFEST, ERRORS, RANGES} < {path.name for path in (folder / "out").iterdir()}
    return folder / "out"


def test_pandas_arrow_and_duckdb_open_the_folder(output):
    duckdb, pandas, dataset = map(pytest.importorskip, ("duckdb", "pandas", "pyarrow.dataset"))
    import pyarrow.parquet as pq

    count = sum(pq.read_metadata(part).num_rows for part in output.glob("*.parquet"))
    assert count == 5
    assert len(pandas.read_parquet(output)) == count
    assert dataset.dataset(output).count_rows() == count
    assert dataset.dataset(output, format="parquet").count_rows() == count
    assert pq.read_table(output).num_rows == count
    assert duckdb.sql(f"select count(*) from '{output}/*.parquet'").fetchall() == [(count,)]


def test_datasets_opens_the_folder(output, tmp_path):
    datasets = pytest.importorskip("datasets")
    assert len(datasets.load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache"))) == 5


def test_a_folder_of_an_earlier_version_is_resumed_and_replaced(folder, encode, output):
    options = {"rows_per_part": 2, "precision": "int8", "ranges": folder / "whole" / "part-00001.parquet"}
    undisturbed = {path.name: path.read_bytes() for path in output.iterdir()}

    def as_before():
        for new, old in zip((RECORD, MANIFEST, ERRORS, RANGES), BEFORE, strict=True):
            (output / new).rename(output / old)

    as_before()
    (output / "part-00002.parquet").unlink()
    first = (output / "part-00000.parquet").stat().st_ino
    encode(["pages"], output, resume=True, **options)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == undisturbed
    assert (output / "part-00000.parquet").stat().st_ino == first
    as_before()
    encode(["pages"], output, overwrite=True, **options)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == undisturbed


OPENED = re.findall(r"## ([^\n]+)\n\n```python\n(.+?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in OPENED])
def test_the_documented_lines_find_what_mmst_finds(code, folder, encode, monkeypatch, quiet):
    needed, *lines = code.strip().splitlines()
    for name in needed.removeprefix("import ").split(", "):
        pytest.importorskip(name)
    assert len([line for line in lines if line]) == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"find the page with a red header")))
    encode(["pages"], folder / "vectors", dim=64, rows_per_part=4)
    encode(["-"], folder / "query", dim=64, prompt_name="query")
    found = {}
    exec(code, found)
    (hits,) = run_search(folder / "vectors", given=folder / "query", top=3, terminal=quiet).hits
    assert found["nearest"] == [name for name, _ in hits]


def test_the_four_programs_are_documented():
    assert [name for name, _ in OPENED] == ["pandas", "DuckDB", "FAISS", "LanceDB"]
