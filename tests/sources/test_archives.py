import builtins
import io
import json
import sys
import tarfile

import numpy
import pytest
import soundfile
from datasets import Audio, Image, Video
from PIL import Image as PillowImage

from mmst_cli.errors import DataError
from mmst_cli.sources.tables import load_rows, load_stream


@pytest.fixture
def load(section):
    return lambda path, **fields: load_rows("train", section(path, **fields))


@pytest.fixture
def fault(load):
    def of(path):
        with pytest.raises(DataError) as caught:
            load(path)
        message = str(caught.value)
        assert message.startswith("datasets.train.path: ")
        assert "\n" not in message
        return message

    return of


def write_tar(path, samples):
    """Write samples, each a name and its members by ending, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, members in samples:
            for ending, content in members.items():
                entry = tarfile.TarInfo(f"{name}.{ending}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def png(width):
    buffer = io.BytesIO()
    PillowImage.new("RGB", (width, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def wav():
    buffer = io.BytesIO()
    soundfile.write(buffer, numpy.zeros(100), 8000, format="WAV")
    return buffer.getvalue()


def samples(start, stop):
    return [
        (
            f"{number:03}",
            {
                "png": png(8 + number),
                "txt": f"straße {number}".encode(),
                "json": json.dumps({"caption": f"c{number}", "n": number}).encode(),
                "query.txt": b"which?",
                "wav": wav(),
                "mp4": b"no clip, and never opened",
            },
        )
        for number in range(start, stop)
    ]


@pytest.fixture
def shards(tmp_path):
    write_tar(tmp_path / "shard-1.tar", samples(8, 11))
    write_tar(tmp_path / "shard-0.tar", samples(0, 8))
    return tmp_path


def check(row, number):
    assert row["__key__"] == f"{number:03}"
    assert row["txt"] == f"straße {number}"
    assert row["query.txt"] == "which?"
    assert row["json"] == {"caption": f"c{number}", "n": number}
    assert row["png"] == {"bytes": png(8 + number), "path": f"{number:03}.png"}
    assert row["wav"] == {"bytes": wav(), "path": f"{number:03}.wav"}
    assert row["mp4"] == {"bytes": b"no clip, and never opened", "path": f"{number:03}.mp4"}


@pytest.mark.parametrize("path", ["shard-*.tar", "."])
def test_archives_by_pattern_and_in_a_folder(path, shards, load):
    rows = load(shards / path)
    assert len(rows) == 11
    for number, row in enumerate(rows):
        check(row, number)


def test_one_archive_and_a_slice_of_it(shards, load):
    assert len(load(shards / "shard-1.tar")) == 3
    assert load(shards / "shard-1.tar", split="train[1:]")["__key__"] == ["009", "010"]


def test_a_changed_archive_is_read_again(tmp_path, load):
    write_tar(tmp_path / "a.tar", samples(0, 3))
    assert len(load(tmp_path / "a.tar")) == 3
    write_tar(tmp_path / "a.tar", samples(2, 4))
    assert load(tmp_path / "a.tar")["__key__"] == ["002", "003"]


def test_a_query_over_archives(shards, load):
    rows = load(shards / "*.tar", sql="select png as image, json.caption as query from rows where json.n > 9")
    assert rows.to_list() == [{"image": {"bytes": png(18), "path": "010.png"}, "query": "c10"}]


def test_media_have_their_features_and_are_not_decoded(shards, load):
    features = load(shards / "shard-0.tar").features
    assert (features["png"], features["wav"], features["mp4"]) == (
        Image(decode=False),
        Audio(decode=False),
        Video(decode=False),
    )


def test_a_folder_of_splits(tmp_path, load):
    write_tar(tmp_path / "train" / "a.tar", samples(0, 2))
    write_tar(tmp_path / "test" / "a.tar", samples(2, 5))
    assert len(load(tmp_path)) == 2
    check(load(tmp_path, split="test")[0], 2)


def test_an_archive_needs_no_torchcodec(shards, load, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchcodec"]:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.split(".")[0] == "torchcodec":
            raise ImportError("No module named 'torchcodec'")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    check(load(shards / "shard-1.tar")[0], 8)


def test_a_file_in_the_working_directory_is_not_taken_for_a_member(shards, load, monkeypatch):
    (shards / "008.png").write_bytes(b"another image")
    monkeypatch.chdir(shards)
    check(load(shards / "shard-1.tar")[0], 8)


def test_endings_that_are_media_elsewhere(tmp_path, load):
    write_tar(tmp_path / "a.tar", [("x", {"webm": b"1", "mpg": b"2", "m4a": b"3", "pdf": b"4"})])
    row = load(tmp_path / "a.tar")[0]
    assert row["webm"] == {"bytes": b"1", "path": "x.webm"}
    assert row["mpg"] == {"bytes": b"2", "path": "x.mpg"}
    assert row["m4a"] == {"bytes": b"3", "path": "x.m4a"}
    assert row["pdf"] == b"4"


def test_a_member_missing_later_is_empty(tmp_path, load):
    write_tar(tmp_path / "a.tar", [*samples(0, 6), ("last", {"txt": b"alone"})])
    row = load(tmp_path / "a.tar")[6]
    assert (row["txt"], row["png"], row["json"]) == ("alone", None, None)


def test_a_stream_of_archives(shards, section):
    stream = load_stream("train", section(shards / "shard-*.tar"))
    rows = sorted(stream, key=lambda row: row["__key__"])
    assert len(rows) == 11
    for number, row in enumerate(rows):
        check(row, number)


def test_samples_of_different_members(tmp_path, fault):
    write_tar(tmp_path / "a.tar", [("a", {"txt": b"1"}), ("b", {"png": png(8)})])
    assert "the first samples of the archive have different members" in fault(tmp_path / "a.tar")


def test_an_archive_without_members(tmp_path, fault):
    assert fault(write_tar(tmp_path / "a.tar", [])).endswith("a.tar holds no rows in split train.")


@pytest.mark.parametrize(
    "members", [{"txt": b"\xff\xfd"}, {"json": b"{"}, {"cls": b"x"}], ids=["text", "json", "number"]
)
def test_a_broken_member(members, tmp_path, fault):
    said = fault(write_tar(tmp_path / "a.tar", [("a", members)]))
    assert f"a.tar can't be read: member 'a.{next(iter(members))}': " in said


def test_a_broken_archive(shards, fault):
    whole = write_tar(shards / "whole.tar", [(str(n), {"txt": b"text"}) for n in range(20)]).read_bytes()
    (shards / "cut.tar").write_bytes(whole[: 12 * 1024 + 100])  # in a header, where reading just ends
    (shards / "half.tar").write_bytes(whole[: 12 * 1024])
    (shards / "prose.tar").write_bytes(b"no archive at all" * 100)
    (shards / "words.tar").write_bytes(b"no archive" + bytes(10240))
    (shards / "twice.tar").write_bytes(whole * 2)  # of which a reader sees the first
    place = whole.index(b"12.txt")
    (shards / "damaged.tar").write_bytes(whole[:place] + b"?" + whole[place + 1 :])  # a header, where reading just ends
    for name in ("cut.tar", "half.tar", "prose.tar", "words.tar", "twice.tar", "damaged.tar"):
        assert f"{name} can't be read: " in fault(shards / name)


def test_texts_of_any_encoding(tmp_path, load):
    encodings = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")
    path = write_tar(tmp_path / "a.tar", [(name, {"txt": "né à 東京".encode(name)}) for name in encodings])
    assert load(path)["txt"] == ["né à 東京"] * len(encodings)


def test_a_name_that_is_no_text(tmp_path, fault):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("caf\udce9.txt"))
    assert "its name is not UTF-8" in fault(path)
