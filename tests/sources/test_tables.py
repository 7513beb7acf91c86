import gzip
import importlib
import json
import random

import datasets
import pyarrow as pa
import pytest
from PIL import Image

from mmst_cli.builtin import pages
from mmst_cli.errors import DataError
from mmst_cli.sources.places import media_folder
from mmst_cli.sources.tables import choose_rows, load_rows

ROWS = [{"query": f"page {number}", "number": number} for number in range(12)]


@pytest.fixture
def load(section):
    return lambda path, seed=0, **fields: load_rows("train", section(path, **fields), seed)


@pytest.fixture
def fault(load):
    def of(path, **fields):
        with pytest.raises(DataError) as caught:
            load(path, **fields)
        message = str(caught.value)
        assert message.startswith("datasets.train")
        assert "\n" not in message
        return message

    return of


@pytest.fixture
def table():
    return datasets.Dataset.from_list(ROWS)


def write_jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, rows=ROWS):
    datasets.Dataset.from_list(rows).to_parquet(str(path))
    return path


def write_csv(path, rows=ROWS):
    datasets.Dataset.from_list(rows).to_csv(str(path))
    return path


def write_json(path, rows=ROWS):
    path.write_text(json.dumps(rows, indent=1))
    return path


def write_tsv(path, rows=ROWS):
    datasets.Dataset.from_list(rows).to_csv(str(path), sep="\t")
    return path


def write_arrow(path, rows=ROWS):
    table = datasets.Dataset.from_list(rows).data.table
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return path


def compress(path, write):
    with gzip.open(path, "wb") as file:
        file.write(write(path.with_suffix("")).read_bytes())
    path.with_suffix("").unlink()
    return path


WRITERS = {
    ".jsonl": write_jsonl,
    ".json": write_json,
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".tsv": write_tsv,
    ".arrow": write_arrow,
    ".jsonl.gz": lambda path: compress(path, write_jsonl),
    ".json.gz": lambda path: compress(path, write_json),
    ".csv.gz": lambda path: compress(path, write_csv),
    ".tsv.gz": lambda path: compress(path, write_tsv),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_files(suffix, tmp_path, load):
    assert load(WRITERS[suffix](tmp_path / f"rows{suffix}")).to_list() == ROWS


@pytest.mark.parametrize("name", ["ROWS.CSV", "a copy (1).csv", "rows[1].csv", "what?.csv", "a*b.csv", "a,b.csv"])
def test_a_file_may_have_any_name(name, tmp_path, load):
    write_csv(tmp_path / "rows1.csv", [{"query": "another file", "number": 0}])
    assert load(write_csv(tmp_path / name)).to_list() == ROWS


def test_a_changed_file_is_read_again(tmp_path, load):
    assert len(load(write_jsonl(tmp_path / "rows.jsonl"))) == 12
    assert load(write_jsonl(tmp_path / "rows.jsonl", ROWS[:3])).to_list() == ROWS[:3]


def test_json_lines_may_end_in_json(tmp_path, load):
    assert load(write_jsonl(tmp_path / "rows.json")).to_list() == ROWS


def test_a_file_by_its_address(tmp_path, load, section):
    address = f"file://{write_csv(tmp_path / 'rows.csv')}"
    assert load(address).to_list() == ROWS
    assert media_folder(section(address)) == tmp_path


def test_a_file_compressed_with_zstd(tmp_path, load):
    path = tmp_path / "rows.csv.zst"
    path.write_bytes(pa.compress(write_csv(tmp_path / "rows.csv").read_bytes(), "zstd", asbytes=True))
    assert load(path).to_list() == ROWS


def test_paths_are_relative_to_the_working_directory_and_the_home_folder(tmp_path, load, monkeypatch):
    write_jsonl(tmp_path / "rows.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("rows.jsonl", "./rows.jsonl", "~/rows.jsonl"):
        assert load(path).to_list() == ROWS


def test_a_saved_dataset(tmp_path, load, table):
    table.save_to_disk(tmp_path / "saved")
    assert load(tmp_path / "saved").to_list() == ROWS


def test_a_saved_dict_of_datasets(tmp_path, load, table):
    datasets.DatasetDict(train=table, test=table.select([5])).save_to_disk(tmp_path / "saved")
    assert load(tmp_path / "saved").to_list() == ROWS
    assert load(tmp_path / "saved", split="test").to_list() == ROWS[5:6]


def test_a_folder_of_parquet_files(tmp_path, load):
    write_parquet(tmp_path / "train-0.parquet", ROWS[:5])
    write_parquet(tmp_path / "train-1.parquet", ROWS[5:])
    assert load(tmp_path).to_list() == ROWS


def test_a_folder_of_images(tmp_path, load):
    for number in range(3):
        Image.new("RGB", (10 + number, 10)).save(tmp_path / f"{number}.png")
    write_jsonl(tmp_path / "metadata.jsonl", [{"file_name": f"{n}.png", "query": f"page {n}"} for n in range(3)])
    rows = load(tmp_path)
    assert [(row["query"], row["image"].width) for row in rows] == [("page 0", 10), ("page 1", 11), ("page 2", 12)]


@pytest.fixture
def few_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "TRAIN_ROWS", 12)
    monkeypatch.setattr(pages, "EVAL_ROWS", 8)
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))


def test_generated_pages_by_name_or_split(few_pages, load):
    assert len(load("builtin:pages")) == len(load("builtin:pages", name="train")) == 12
    assert load("builtin:pages", name="eval")["query"] == load("builtin:pages", split="eval")["query"]
    assert len(load("builtin:pages", name="eval")) == 8


@pytest.mark.parametrize(("name", "build"), [("sounds", "build_sounds"), ("clips", "build_clips")])
def test_generated_sounds_and_clips(name, build, tmp_path, table, load, fault, monkeypatch):
    module = importlib.import_module(f"mmst_cli.builtin.{name}")
    table.save_to_disk(tmp_path / "eval")
    monkeypatch.setattr(module, build, lambda part: tmp_path / part)
    assert load(f"builtin:{name}", name="eval").to_list() == ROWS
    assert load(f"builtin:{name}", split="eval[:2]").to_list() == ROWS[:2]
    assert f"builtin:{name} has {', '.join(module.NAMES)}" in fault(f"builtin:{name}", name="nothing")


def everywhere(tmp_path, table):
    table.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(train=table).save_to_disk(tmp_path / "dict")
    return [write_jsonl(tmp_path / "rows.jsonl"), tmp_path / "saved", tmp_path / "dict"]


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("train[:5]", [0, 1, 2, 3, 4]),
        ("train[-2:]", [10, 11]),
        ("train[50%:75%]", [6, 7, 8]),
        ("train[:1]+train[11:]", [0, 11]),
    ],
)
def test_slices_mean_the_same_everywhere(split, numbers, tmp_path, table, load):
    for path in everywhere(tmp_path, table):
        assert [row["number"] for row in load(path, split=split)] == numbers, path


def test_slices_of_generated_pages(few_pages, load):
    whole = load("builtin:pages", name="eval")["query"]
    assert load("builtin:pages", name="eval", split="train[2:4]")["query"] == whole[2:4]
    assert load("builtin:pages", split="eval[:3]")["query"] == whole[:3]


@pytest.mark.parametrize("split", ["train[:0]", "train[100:]"])
def test_a_slice_of_nothing(split, tmp_path, table, fault):
    for path in everywhere(tmp_path, table):
        assert f"holds no rows in split {split}" in fault(path, split=split)


@pytest.mark.parametrize("split", ["train[:x]", "train[", "test[:5]x"])
def test_a_slice_that_cannot_be_read(split, tmp_path, table, fault):
    for path in everywhere(tmp_path, table):
        assert split in fault(path, split=split)


def test_max_rows_are_seeded_and_keep_their_order(tmp_path, load):
    path = write_jsonl(tmp_path / "rows.jsonl")
    chosen = {seed: [row["number"] for row in load(path, seed, max_rows=5)] for seed in range(5)}
    assert all(numbers == sorted(set(numbers)) and len(numbers) == 5 for numbers in chosen.values())
    assert chosen[0] == [row["number"] for row in load(path, 0, max_rows=5)]
    assert len({tuple(numbers) for numbers in chosen.values()}) > 1


def test_max_rows_above_the_number_of_rows_keep_all(table):
    assert choose_rows(table, 12, 0) is choose_rows(table, 500, 0) is choose_rows(table, None, 0) is table


def test_max_rows_leave_the_random_state_alone(table):
    random.seed(1)
    expected = random.random()
    random.seed(1)
    choose_rows(table, 3, 0)
    assert random.random() == expected


def test_media_are_relative_to_the_file_or_folder(tmp_path, section, monkeypatch):
    (tmp_path / "rows.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert media_folder(section("rows.csv")) == media_folder(section(".")) == tmp_path


@pytest.mark.parametrize(
    "path", ["gone.parquet", "gone.jsonl", "./gone", "a/b/gone", "/gone", "~/gone", "~nobody/gone"]
)
def test_a_file_or_folder_that_is_not_there(path, fault):
    assert fault(path) == f"datasets.train.path: {path}: no such file or folder."


@pytest.mark.parametrize("path", ["rows.csv ", "rows.csv\r", "\u200bowner/name", "part-*.csv\u00a0"])
def test_what_cannot_be_seen_in_a_path_is_shown(path, fault):
    assert fault(path).startswith(f"datasets.train.path: {path!r}: ")


def test_a_hub_id_without_a_network(fault):
    assert fault("nobody/nothing").startswith("datasets.train.path: nobody/nothing can't be loaded")


@pytest.mark.parametrize("name", ["rows.yaml", "rows.txt", "rows", "rows.parquet.gz", "rows.gz"])
def test_a_file_of_another_kind(name, tmp_path, fault):
    (tmp_path / name).write_text("{}")
    message = fault(tmp_path / name)
    assert ".parquet, .jsonl, .csv" in message
    assert "found " in message


def test_an_unknown_builtin(fault):
    known = "there is builtin:pages, builtin:sounds, builtin:clips."
    assert fault("builtin:page").endswith(f"{known} Did you mean builtin:pages?")
    assert fault("builtin:sound").endswith(f"{known} Did you mean builtin:sounds?")
    assert fault("builtin:pages", name="evl").startswith("datasets.train.name: evl: ")
    assert fault("builtin:pages", name="evl").endswith("Did you mean eval?")


def test_a_split_that_is_not_there(tmp_path, table, fault):
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "dict")
    assert fault(tmp_path / "dict", split="tset") == (
        "datasets.train.split: tset: there is train, test. Did you mean test?"
    )
    assert "train" in fault(write_jsonl(tmp_path / "rows.jsonl"), split="tset")


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows.csv"])
def test_a_file_of_no_bytes(name, tmp_path, fault):
    (tmp_path / name).touch()
    assert "holds no rows" in fault(tmp_path / name)


def test_a_file_without_rows(tmp_path, fault, table):
    table.select([]).to_parquet(str(tmp_path / "rows.parquet"))
    (tmp_path / "rows.csv").write_text("query,image\n")
    table.select([]).save_to_disk(tmp_path / "saved")
    for name in ("rows.parquet", "rows.csv", "saved"):
        assert fault(tmp_path / name) == f"datasets.train.path: {tmp_path / name} holds no rows in split train."


def test_a_folder_without_rows(tmp_path, fault):
    assert str(tmp_path) in fault(tmp_path)
    (tmp_path / "notes.xyz").write_text("nothing to read here")
    assert str(tmp_path) in fault(tmp_path)


BROKEN = {
    "magic.parquet": b"PAR1 and then nothing",
    "lines.jsonl": b'{"query": "a"}\n{"query": ',
    "prose.jsonl": b"no json at all\n",
    "numbers.jsonl": b"5\n6\n",
    "lists.jsonl": b"[1, 2]\n[3, 4]\n",
    "quote.csv": b'query,image\n1,2\n"',
    "letters.csv": b"query,image\n\xff\xfe,a\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file(name, tmp_path, fault):
    (tmp_path / name).write_bytes(BROKEN[name])
    assert name in fault(tmp_path / name)


def test_a_parquet_file_with_a_hole(tmp_path, fault):
    content = write_parquet(tmp_path / "rows.parquet").read_bytes()
    (tmp_path / "rows.parquet").write_bytes(content[: len(content) // 2] + content[len(content) // 2 + 20 :])
    assert "rows.parquet" in fault(tmp_path / "rows.parquet")


@pytest.mark.parametrize("harm", ["gone", "garbage", "info"])
def test_a_broken_saved_dataset(harm, tmp_path, table, fault):
    table.save_to_disk(tmp_path / "saved")
    arrow = next((tmp_path / "saved").glob("*.arrow"))
    if harm == "gone":
        arrow.unlink()
    elif harm == "garbage":
        arrow.write_bytes(b"xx")
    else:
        (tmp_path / "saved" / "dataset_info.json").write_text("{")
    assert "saved" in fault(tmp_path / "saved")
