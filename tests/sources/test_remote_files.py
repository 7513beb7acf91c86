import json

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mmst_cli.errors import DataError
from mmst_cli.sources.places import media_folder
from mmst_cli.sources.tables import load_rows, load_stream

ROWS = [{"query": f"page {number}", "number": number} for number in range(12)]


@pytest.fixture
def bucket(monkeypatch):
    """A function that writes files of rows into a bucket in memory."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)  # which holds for every address, even this one
    system = fsspec.filesystem("memory")

    def put(name, rows):
        with system.open(f"/bucket/{name}", "wb") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows).encode())

    yield put
    if system.exists("/bucket"):
        system.rm("/bucket", recursive=True)


@pytest.fixture
def load(section):
    return lambda path, **fields: load_rows("train", section(path, **fields))


@pytest.fixture
def fault(section):
    def of(path, load=load_rows):
        with pytest.raises(DataError) as caught:
            load("train", section(path))
        message = str(caught.value)
        assert message.startswith(f"datasets.train.path: {path}")
        assert "\n" not in message
        return message.removeprefix(f"datasets.train.path: {path}")

    return of


def test_a_file_and_a_pattern(bucket, load):
    bucket("part-1.jsonl", ROWS[5:])
    bucket("part-0.jsonl", ROWS[:5])
    assert load("memory://bucket/part-0.jsonl").to_list() == ROWS[:5]
    assert load("memory://bucket/part-*.jsonl").to_list() == ROWS
    assert load("memory://bucket/part-*.jsonl", split="train[4:6]", max_rows=None).to_list() == ROWS[4:6]


def test_a_changed_file_is_fetched_again(bucket, load):
    bucket("changed.jsonl", ROWS[:5])
    assert len(load("memory://bucket/changed.jsonl")) == 5
    bucket("changed.jsonl", ROWS)
    assert load("memory://bucket/changed.jsonl").to_list() == ROWS


def test_a_stream(bucket, section):
    bucket("streamed.jsonl", ROWS)
    rows = list(load_stream("train", section("memory://bucket/streamed.jsonl")))
    assert sorted(rows, key=lambda row: row["number"]) == ROWS


def test_a_query(bucket, load):
    bucket("queried.jsonl", ROWS)
    rows = load("memory://bucket/queried.jsonl", sql="select number from rows where number > 9")
    assert rows.to_list() == [{"number": 10}, {"number": 11}]


def test_offline(bucket, fault, monkeypatch):
    bucket("rows.jsonl", ROWS)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    assert fault("memory://bucket/rows.jsonl").startswith(" can't be loaded: Offline mode is enabled.")


def test_media_are_relative_to_the_working_directory(section, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert media_folder(section("s3://bucket/rows.parquet")) == tmp_path


@pytest.mark.parametrize("load", [load_rows, load_stream])
def test_nothing_there(load, bucket, fault):
    bucket("rows.jsonl", ROWS)
    assert fault("memory://bucket/gone.jsonl", load) == ": no such file."
    assert fault("memory://bucket/*.csv", load) == ": matches no file."
    assert fault("memory://bucket", load) == ": a folder. Write a pattern for its files: memory://bucket/*.parquet."


def test_a_file_of_another_kind(bucket, fault):
    bucket("rows.txt", ROWS)
    assert fault("memory://bucket/rows.txt").endswith("found .txt.")


def refuse(error):
    def info(*_args, **_kwargs):
        raise error

    return info


def test_refused_access(bucket, fault, monkeypatch):
    monkeypatch.setattr(MemoryFileSystem, "info", refuse(PermissionError("Forbidden")))
    assert fault("memory://bucket/rows.jsonl").startswith(": access refused (Forbidden). Give credentials")


def test_an_error_of_a_driver(bucket, fault, monkeypatch):
    class NoCredentialsError(Exception):
        pass

    monkeypatch.setattr(MemoryFileSystem, "info", refuse(NoCredentialsError("Unable to locate credentials\nat all")))
    expected = " can't be reached: NoCredentialsError: Unable to locate credentials"
    assert fault("memory://bucket/rows.jsonl") == expected


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")])
def test_a_missing_driver(protocol, package, fault, monkeypatch):
    def missing(*_args, **_kwargs):
        raise ImportError(f"Install {package}")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    assert fault(f"{protocol}://bucket/rows.parquet") == (
        f": {protocol}:// needs a package that isn't installed: `pip install {package}`."
    )


def test_an_unknown_protocol(fault):
    assert fault("memroy://bucket/rows.csv") == ": Protocol not known: memroy. Did you mean memory?"
