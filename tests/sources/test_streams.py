import json

import datasets
import pytest
from PIL import Image

from mmst_cli.builtin import pages
from mmst_cli.errors import DataError
from mmst_cli.sources.tables import load_stream

ROWS = [{"query": f"page {number}", "number": number} for number in range(40)]


@pytest.fixture
def stream(section):
    return lambda path, seed=0, **fields: load_stream("train", section(path, **fields), seed)


@pytest.fixture
def fault(stream):
    def of(path, **fields):
        with pytest.raises(DataError) as caught:
            stream(path, **fields)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


def write(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numbers(rows):
    return [row["number"] for row in rows]


def sources(folder):
    table = datasets.Dataset.from_list(ROWS)
    table.to_parquet(str(folder / "rows.parquet"))
    table.to_csv(str(folder / "rows.csv"))
    table.save_to_disk(folder / "saved")
    (folder / "rows.json").write_text(json.dumps(ROWS))
    for start in (0, 20):
        write(folder / f"part-{start}.jsonl", ROWS[start : start + 20])
    return [folder / name for name in ("rows.parquet", "rows.csv", "saved", "rows.json", "part-*.jsonl")]


def test_every_source_streams_all_its_rows_and_knows_their_columns(tmp_path, stream):
    for path in sources(tmp_path):
        rows = stream(path)
        assert isinstance(rows, datasets.IterableDataset)
        assert rows.column_names == ["query", "number"], path
        assert sorted(rows, key=lambda row: row["number"]) == ROWS, path


def test_the_seed_gives_the_order(tmp_path, stream):
    for path in sources(tmp_path):
        first = numbers(stream(path, 1))
        assert first == numbers(stream(path, 1)) != numbers(stream(path, 2)), path
        assert first != sorted(first)


def test_each_epoch_has_its_own_order_and_the_same_one_again(tmp_path, stream):
    path = write(tmp_path / "rows.jsonl")
    orders = []
    for epoch in (0, 1, 0):
        rows = stream(path, 1)
        rows.set_epoch(epoch)
        orders.append(numbers(rows))
    assert orders[0] == orders[2] != orders[1]


def test_max_rows_are_the_first_ones(tmp_path, stream):
    for path in sources(tmp_path):
        assert sorted(numbers(stream(path, max_rows=7))) == list(range(7)), path


def test_generated_rows(tmp_path, stream, monkeypatch):
    monkeypatch.setattr(pages, "TRAIN_ROWS", 12)
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    rows = list(stream("builtin:pages"))
    assert len({row["query"] for row in rows}) > 1
    assert len(rows) == 12
    assert set(rows[0]["image"]) == {"bytes", "path"}


def test_images_are_not_decoded(tmp_path, stream):
    for number in range(3):
        Image.new("RGB", (10, 10)).save(tmp_path / f"{number}.png")
    write(tmp_path / "metadata.jsonl", [{"file_name": f"{n}.png", "query": f"page {n}"} for n in range(3)])
    rows = list(stream(tmp_path))
    assert sorted(row["query"] for row in rows) == ["page 0", "page 1", "page 2"]
    assert all(row["image"]["path"].endswith(".png") for row in rows)


def test_a_column_that_is_empty_at_first_holds_text(tmp_path, stream):
    rows = [{"query": "q", "note": None}] * 150 + [{"query": "q", "note": "late"}]
    found = list(stream(write(tmp_path / "rows.jsonl", rows)))
    assert [row["note"] for row in found if row["note"]] == ["late"]


def test_what_cannot_stream(tmp_path, fault):
    path = write(tmp_path / "rows.jsonl")
    assert fault(path, split="train[:5]") == (
        "datasets.train.split: train[:5]: a stream has whole splits only. Write train, with max_rows for the first"
        " rows of it."
    )
    assert fault(path, split="train+test").startswith("datasets.train.split: train+test: ")
    assert fault(path, sql="select 1").startswith("datasets.train.sql: a query needs all rows")


def test_a_wrong_split(tmp_path, fault):
    assert fault(write(tmp_path / "rows.jsonl"), split="tset").startswith("datasets.train.split: tset: ")


def test_a_stream_without_rows(tmp_path, fault):
    (tmp_path / "rows.csv").write_text("query,number\n")
    datasets.Dataset.from_list(ROWS).select([]).to_parquet(str(tmp_path / "rows.parquet"))
    for name in ("rows.csv", "rows.parquet"):
        assert fault(tmp_path / name) == f"datasets.train.path: {tmp_path / name} holds no rows in split train."


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1 and nothing"), ("a.jsonl", b"no json\n")])
def test_a_broken_file(name, content, tmp_path, fault):
    (tmp_path / name).write_bytes(content)
    assert fault(tmp_path / name).startswith(f"datasets.train.path: {tmp_path / name} can't be ")
