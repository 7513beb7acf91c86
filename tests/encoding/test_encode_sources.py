"""Tables wherever they come from, as `datasets.X.path` of a config takes them: one row, one vector, one id."""

import gzip
import io
import json
import subprocess
import sys
import tarfile

import fsspec
import numpy
import pyarrow as pa
import pytest
from datasets import Dataset
from stand_in import StandInHub, loopback_environment

from mmst_cli.errors import MmstError
from mmst_cli.inputs.table_inputs import TableOptions

TEXTS = ["a red page", "a blue page", "007", "a green stamp"]
ROWS = [{"query": text, "number": number} for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def expected():
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.registry import build_builtin

    return SentenceTransformer(str(build_builtin("builtin:tiny-text")), device="cpu").encode(TEXTS)


@pytest.fixture
def check(tmp_path, monkeypatch, encode, read_output, expected):
    """A function that encodes a table's column `query` and compares with the rows that are meant."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)  # which holds for every address, even memory://

    def run(source, rows=(0, 1, 2, 3), column="query", **table):
        output = tmp_path / "out"
        options = {"columns": [column], "table": TableOptions(**table)} if column else {}
        encode([source], output, model="builtin:tiny-text", overwrite=True, **options)
        ids, vectors = read_output(output)
        assert ids == [f"{source}#{number}" for number in range(len(rows))]
        assert numpy.abs(vectors - expected[list(rows)]).max() < 1e-6

    return run


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_compressed_lines(check, tmp_path):
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines(ROWS)))
    check("rows.jsonl.gz")
    (tmp_path / "rows.jsonl.zst").write_bytes(pa.compress(lines(ROWS), "zstd", asbytes=True))
    check("rows.jsonl.zst")


def test_separated_values_keep_their_texts(check, tmp_path):
    for name, separator in (("rows.csv", ","), ("rows.tsv", "\t"), ("rows.csv.gz", ",")):
        content = "".join(
            f"{row}{separator}{text}\n" for row, text in [("number", "query"), *enumerate(TEXTS)]
        ).encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        check(name)


def test_a_pattern(check, tmp_path):
    (tmp_path / "part-1.jsonl").write_bytes(lines(ROWS[2:]))
    (tmp_path / "part-0.jsonl").write_bytes(lines(ROWS[:2]))
    check("part-*.jsonl")
    for number, rows in enumerate((ROWS[:1], ROWS[1:])):
        Dataset.from_list(rows).to_parquet(tmp_path / f"part-{number}.parquet")
    check("part-*.parquet")


def test_an_address(check):
    system = fsspec.filesystem("memory")
    with system.open("/bucket/rows.jsonl", "wb") as file:
        file.write(lines(ROWS))
    check("memory://bucket/rows.jsonl")
    check("memory://bucket/*.jsonl")
    system.rm("/bucket", recursive=True)


def test_shards_of_an_archive(check, tmp_path):
    for shard, rows in enumerate((ROWS[:2], ROWS[2:])):
        with tarfile.open(tmp_path / f"shard-{shard}.tar", "w") as archive:
            for row in rows:
                member = tarfile.TarInfo(f"{row['number']}.txt")
                member.size = len(row["query"].encode())
                archive.addfile(member, io.BytesIO(row["query"].encode()))
    check("shard-*.tar", column="txt")


def test_folders_and_slices_and_queries(check, tmp_path):
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    check("saved")
    check("saved", [1, 2], split="train[1:3]")
    (tmp_path / "tables").mkdir()
    Dataset.from_list(ROWS).to_parquet(tmp_path / "tables" / "rows.parquet")
    check("tables")
    check("tables/rows.parquet", [3, 0], sql="select query from rows where number in (0, 3) order by number desc")
    check("tables/rows.parquet", [0], split="train[:1]")


def test_lines_of_texts(check, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS) + "\n")
    check("lines.txt", column=None)


def test_generated_pages(encode, tmp_path):
    options = {"columns": ["query"], "table": TableOptions(name="eval", split="eval[:3]")}
    assert encode(["builtin:pages"], tmp_path / "out", model="builtin:tiny-text", **options).count == 3


def test_a_pattern_of_pictures(folder, encode, read_output):
    encode(["pages/*.png"], folder / "out")
    assert read_output(folder / "out")[0] == [f"pages/{number}.png" for number in range(4)]


def test_pages_of_a_hub_dataset(tmp_path, expected):
    Dataset.from_list(ROWS).to_parquet(tmp_path / "repository" / "test-0.parquet")
    with StandInHub() as hub:
        hub.add("datasets", "someone/texts", tmp_path / "repository")
        environment = loopback_environment(hub.address, tmp_path)
        command = [
            sys.executable,
            "-m",
            "mmst_cli",
            "encode",
            "builtin:tiny-text",
            "someone/texts",
            "--column",
            "query",
        ]
        command += ["--split", "test[1:]", "--output", "out"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = Dataset.from_parquet(str(tmp_path / "out" / "part-00000.parquet"))
    assert table["id"] == [f"someone/texts#{number}" for number in range(3)]
    assert numpy.abs(numpy.array(table["embedding"]) - expected[1:]).max() < 1e-6
    outside = tmp_path / "outside.txt"
    assert not outside.exists() or not outside.read_text()


MISTAKES = {
    "a missing column": (
        "rows.jsonl",
        ["qury"],
        {},
        "rows.jsonl: no column qury; there is query, number. Did you mean",
    ),
    "no column": ("rows.jsonl", [], {}, "--column: rows.jsonl has query, number. Name the one to encode."),
    "a wrong split": ("rows.jsonl", ["query"], {"split": "tset"}, "--split: tset: rows.jsonl has train."),
    "a wrong query": ("rows.jsonl", ["query"], {"sql": "drop table rows"}, "--sql: only a select is allowed"),
    "no such file": ("nothing.parquet", ["query"], {}, "nothing.parquet: no such file or folder."),
    "an end that can't be seen": ("rows.jsonl\r", ["query"], {}, r"'rows.jsonl\r': no such file or folder."),
    "no such pattern": ("nothing-*.parquet", ["query"], {}, "nothing-*.parquet: matches no file."),
    "a hub id without columns": (
        "someone/texts",
        [],
        {},
        "someone/texts: no such file or folder. Of a dataset of the hub",
    ),
    "half a file": ("half.jsonl.gz", ["query"], {}, "half.jsonl.gz: can't be read: Compressed file ended before"),
    "a picture elsewhere": ("https://host/a.png", [], {}, "https://host/a.png: nothing is fetched here."),
    "a query of a folder of pictures": ("pictures", [], {"sql": "select 1"}, "--sql: only tables"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_the_words_of_the_command(case, tmp_path, monkeypatch, encode):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(lines(ROWS))
    (tmp_path / "half.jsonl.gz").write_bytes(gzip.compress(lines(ROWS))[:-9])
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    source, columns, table, words = MISTAKES[case]
    with pytest.raises(MmstError) as caught:
        encode([source], tmp_path / "out", model="builtin:tiny-text", columns=columns, table=TableOptions(**table))
    assert words in str(caught.value)
    assert "datasets." not in str(caught.value) and "INPUT" not in str(caught.value)
