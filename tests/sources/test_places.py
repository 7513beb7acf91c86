import json
from pathlib import Path

import pytest
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.sources.places import folder_of_pattern, media_folder, row_ending, would_read
from mmst_cli.sources.tables import load_rows

ROWS = [{"query": f"page {number}", "number": number} for number in range(12)]


@pytest.fixture
def load(section):
    return lambda path, **fields: load_rows("train", section(path, **fields))


@pytest.fixture
def fault(load):
    def of(path):
        with pytest.raises(DataError) as caught:
            load(path)
        message = str(caught.value)
        assert message.startswith(f"datasets.train.path: {path}")
        assert "\n" not in message
        return message.removeprefix(f"datasets.train.path: {path}")

    return of


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def parts(tmp_path):
    """A folder of three files, written in another order than that of their names."""
    for name, start in (("part-2", 8), ("part-0", 0), ("part-1", 4)):
        write(tmp_path / "data" / f"{name}.jsonl", ROWS[start : start + 4])
    return tmp_path / "data"


@pytest.mark.parametrize("pattern", ["part-*.jsonl", "part-?.jsonl", "part-[0-2].jsonl", "*"])
def test_files_of_a_pattern_come_in_the_order_of_their_names(pattern, parts, load):
    assert load(parts / pattern).to_list() == ROWS


def test_a_pattern_takes_only_what_matches(parts, load):
    assert load(parts / "part-[02].jsonl").to_list() == ROWS[:4] + ROWS[8:]


def test_a_pattern_for_folders_at_any_depth(parts, load, monkeypatch):
    write(parts / "more" / "deep" / "part-3.jsonl", ROWS[:1])
    monkeypatch.chdir(parts.parent)
    assert len(load("data/**/*.jsonl")) == 13
    assert len(load("**/deep/*.jsonl")) == 1


def test_a_path_that_is_there_wins_over_a_pattern(parts, load):
    write(parts / "part-[0-2].jsonl", ROWS[:1])
    assert load(parts / "part-[0-2].jsonl").to_list() == ROWS[:1]


def test_slices_go_over_all_files(parts, load):
    assert load(parts / "*.jsonl", split="train[3:6]").to_list() == ROWS[3:6]


def test_a_file_without_a_byte_adds_no_rows(parts, load, fault):
    (parts / "part-1.jsonl").write_text("")
    assert load(parts / "*.jsonl").to_list() == ROWS[:4] + ROWS[8:]
    for name in ("part-0", "part-2"):
        (parts / f"{name}.jsonl").write_text("")
    assert fault(parts / "*.jsonl") == " holds no rows in split train."


def test_a_pattern_that_matches_nothing(parts, fault):
    (parts / "folder.jsonl").mkdir()
    assert fault(parts / "*.csv") == ": matches no file."
    assert (
        fault(parts / "fold*")
        == f": matches no file, only 1 folder(s). Write {parts / 'fold*'}/* for the files in there."
    )


def test_a_relative_pattern_is_no_hub_id(fault):
    assert fault("gone/*") == ": matches no file."


def test_a_pattern_for_files_of_several_kinds(parts, fault):
    (parts / "part-3.csv").write_text("query,number\na,1\n")
    assert fault(parts / "part-*") == (
        ": matches files of several kinds, .csv, .jsonl. Write a pattern for one of them, ending in *.csv."
    )


def test_a_pattern_for_a_file_of_no_kind(parts, fault):
    (parts / "README.md").write_text("notes")
    assert fault(parts / "*").endswith(".tar, found .md (README.md).")


def test_media_are_relative_to_the_folder_above_the_first_wildcard(parts, section, monkeypatch):
    monkeypatch.chdir(parts.parent)
    assert media_folder(section("data/part-*.jsonl")) == parts
    assert media_folder(section("data/**/*.jsonl")) == parts
    assert media_folder(section("da*/part-0.jsonl")) == parts.parent
    assert media_folder(section(parts / "*")) == parts


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.csv", ".csv"),
        ("A.CSV.GZ", ".csv"),
        ("a.b.jsonl.zst", ".jsonl"),
        ("a.parquet.gz", ".gz"),
        ("a", ""),
        ("s3://bucket/a.tar", ".tar"),
    ],
)
def test_the_ending_that_says_how_a_file_is_read(name, ending):
    assert row_ending(name) == ending


def test_the_folder_of_a_pattern_that_begins_with_one():
    assert str(folder_of_pattern("*.csv")) == "."


@pytest.mark.parametrize(
    ("path", "file", "read"),
    [
        ("rows/a.parquet", "rows/../rows/a.parquet", True),
        ("rows/a.parquet", "rows/b.parquet", False),
        ("rows/*.parquet", "rows/mined.parquet", True),
        ("rows/*.parquet", "link/mined.parquet", True),
        ("rows/*.parquet", "rows/below/mined.parquet", False),
        ("rows/part-*.parquet", "rows/mined.parquet", False),
        ("rows/**/*.parquet", "rows/below/mined.parquet", True),
        ("rows", "rows/mined.parquet", True),
        ("rows", "mined.parquet", False),
        ("builtin:pages", "mined.parquet", False),
    ],
)
def test_whether_a_new_file_would_be_read_as_rows(path, file, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows/below").mkdir(parents=True)
    (tmp_path / "rows/a.parquet").touch()
    (tmp_path / "link").symlink_to("rows")
    assert would_read(path, Path(file)) is read


def test_a_folder_whose_metadata_name_no_files_is_told_what_to_rename(fault, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("Img Name,Caption\na.png,one\n")
    assert fault(tmp_path).endswith(
        "its metadata file has no column called file_name. Rename the one that names the file of each row to that."
    )


def test_the_folder_one_is_in(load, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,caption\na.png,one\n")
    monkeypatch.chdir(tmp_path)
    assert load(".")["caption"] == ["one"]
