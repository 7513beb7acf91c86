"""`mmst mine` on rows wherever they come from, as `datasets.X.path` of a config takes them: the same negatives."""

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from stand_in import StandInHub, loopback_environment
from typer.testing import CliRunner

from mmst_cli.cli import app

SETTINGS = ["--model", "builtin:tiny-text", "--num-negatives", "2"]
OUTPUT = ["--output", "mined.parquet"]


def mined_rows():
    """Return what every row of the output holds, whatever its columns are called; an archive adds where it was."""
    rows = pq.read_table("mined.parquet").to_pylist()
    return [[cell for name, cell in row.items() if not name.startswith("__")] for row in rows]


@pytest.fixture
def rows(text_pairs):
    return text_pairs(16, 5)


@pytest.fixture
def mine(rows, tmp_path, monkeypatch):
    """A function that mines in a source and compares with what is mined in the same rows as parquet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)  # which holds for every address, even memory://

    def invoke(source, *options, anchor="query", positive="answer"):
        columns = ["--anchor", anchor, "--positive", positive]
        done = CliRunner().invoke(app, ["mine", source, *columns, *SETTINGS, *options, "--overwrite", *OUTPUT])
        assert done.exit_code == 0, done.output
        return mined_rows()

    def run(source, *options, **columns):
        assert invoke(source, *options, **columns) == expected

    Dataset.from_list(rows).to_parquet("plain.parquet")
    expected = invoke("plain.parquet")
    assert len(expected) > 8
    return run


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_compressed_lines(mine, rows):
    Path("rows.jsonl.gz").write_bytes(gzip.compress(lines(rows)))
    mine("rows.jsonl.gz")
    Path("rows.jsonl.zst").write_bytes(pa.compress(lines(rows), "zstd", asbytes=True))
    mine("rows.jsonl.zst")


def test_a_pattern(mine, rows):
    Path("part-0.jsonl").write_bytes(lines(rows[:7]))
    Path("part-1.jsonl").write_bytes(lines(rows[7:]))
    mine("part-*.jsonl")


def test_an_address(mine, rows):
    system = fsspec.filesystem("memory")
    with system.open("/bucket/rows.jsonl", "wb") as file:
        file.write(lines(rows))
    mine("memory://bucket/rows.jsonl")
    system.rm("/bucket", recursive=True)


def test_shards_of_an_archive(mine, rows):
    for shard, part in enumerate((rows[:7], rows[7:])):
        with tarfile.open(f"shard-{shard}.tar", "w") as archive:
            for number, row in enumerate(part):
                for name, text in row.items():
                    member = tarfile.TarInfo(f"{shard}-{number:02d}.{name}.txt")
                    member.size = len(text.encode())
                    archive.addfile(member, io.BytesIO(text.encode()))
    mine("shard-*.tar", anchor="query.txt", positive="answer.txt")


def test_folders_and_slices_and_queries(mine, rows):
    Dataset.from_list(rows).save_to_disk("saved")
    mine("saved")
    others = [{"query": "another", "answer": "other words"}] * 3
    Path("tables").mkdir()
    Dataset.from_list([*rows, *others]).to_parquet("tables/rows.parquet")
    mine("tables", "--split", f"train[:{len(rows)}]")
    mine("tables/rows.parquet", "--sql", "select query, answer from rows where query != 'another'")


@pytest.mark.usefixtures("mine")
def test_a_hub_dataset(rows, tmp_path):
    expected = mined_rows()  # of the same rows as parquet
    Dataset.from_list(rows).to_parquet(str(tmp_path / "repository" / "test-0.parquet"))
    with StandInHub() as hub:
        hub.add("datasets", "someone/texts", tmp_path / "repository")
        environment = loopback_environment(hub.address, tmp_path)
        command = [sys.executable, "-m", "mmst_cli", "mine", "someone/texts", "--anchor", "query"]
        command += ["--positive", "answer", *SETTINGS, "--split", "test", "--overwrite", *OUTPUT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert mined_rows() == expected
    outside = tmp_path / "outside.txt"
    assert not outside.exists() or not outside.read_text()
