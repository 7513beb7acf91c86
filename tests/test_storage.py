import hashlib
import json
import multiprocessing
from pathlib import Path

import pytest

from mmst_cli import storage
from mmst_cli.storage import (
    append_line,
    bring_back_replaced,
    build_folder,
    cache_folder,
    digest,
    digest_of_file,
    expand_home,
    replace_folder,
    whole_file,
    write_json,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_whole_and_makes_its_folder(tmp_path):
    path = write_text(tmp_path / "a" / "b" / "note.txt", "größer\n")
    assert path.read_text(encoding="utf-8") == "größer\n"
    assert names(path.parent) == ["note.txt"]


def test_a_reader_never_sees_half_of_a_file(tmp_path, monkeypatch):
    path = write_text(tmp_path / "note.txt", "old")
    seen = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: seen.append(path.read_text()) or replace(self, to))
    write_text(path, "new")
    assert (seen, path.read_text()) == (["old"], "new")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = write_json(tmp_path / "note.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_file_that_fails_on_the_way_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a" / "part.bin") as partial:
        partial.write_bytes(b"half")
        raise KeyboardInterrupt
    assert names(tmp_path / "a") == []
    with whole_file(tmp_path / "part.bin") as partial:
        partial.write_bytes(b"whole")
        assert names(tmp_path) == [".part.bin.partial", "a"]
    assert names(tmp_path) == ["a", "part.bin"]


def test_a_file_is_named_by_what_it_holds(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_keeps_letters_and_order(tmp_path):
    text = write_json(tmp_path / "a.json", {"z": "ü", "a": [1, 2.5, None]}).read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert '"ü"' in text
    assert list(json.loads(text)) == ["z", "a"]


def test_json_has_no_nan(tmp_path):
    def refuse(name):
        raise AssertionError(name)

    value = {"a": float("nan"), "b": [1.5, float("-inf")], "c": "NaN"}
    append_line(tmp_path / "log.jsonl", value)
    for text in (write_json(tmp_path / "a.json", value).read_text(), (tmp_path / "log.jsonl").read_text()):
        assert json.loads(text, parse_constant=refuse) == {"a": None, "b": [1.5, None], "c": "NaN"}


def test_records_are_lines(tmp_path):
    for record in ({"a": "one\ntwo"}, {"b": 2}):
        append_line(tmp_path / "log.jsonl", record)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"a": "one\ntwo"}, {"b": 2}]


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MMST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "mmst"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mmst"


def test_a_folder_is_built_once(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "a").write_text("1")
        assert not (tmp_path / "x" / "target").exists()

    for _ in range(2):
        assert build_folder(tmp_path / "x" / "target", build) == tmp_path / "x" / "target"
    assert len(calls) == 1
    assert names(tmp_path / "x") == ["target"]
    assert names(tmp_path / "x" / "target") == ["a"]


@pytest.mark.parametrize("build", [build_folder, replace_folder])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_build_that_raises_leaves_nothing(build, error, tmp_path):
    def fail(folder):
        (folder / "a").write_text("1")
        raise error

    with pytest.raises(error):
        build(tmp_path / "target", fail)
    assert names(tmp_path) == []


def test_a_build_that_another_process_finished_first(tmp_path):
    def build(folder):
        (folder / "mine").touch()
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "theirs").touch()

    build_folder(tmp_path / "target", build)
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["theirs"]


def build_slowly(target, number):
    def build(folder):
        for part in range(20):
            (folder / f"{part}").write_text(f"{number}")

    build_folder(target, build)


def test_many_processes_build_one_whole_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=build_slowly, args=(tmp_path / "target", n)) for n in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    assert names(tmp_path) == ["target"]
    assert len({path.read_text() for path in (tmp_path / "target").iterdir()}) == 1
    assert len(names(tmp_path / "target")) == 20


def test_a_replaced_folder_holds_the_new_files_only(tmp_path):
    def first(folder):
        (folder / "old").touch()

    def second(folder):
        assert names(tmp_path / "target") == ["old"]
        (folder / "new").touch()

    replace_folder(tmp_path / "target", first)
    replace_folder(tmp_path / "target", second)
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["new"]


def test_a_failed_replacement_keeps_what_was_there(tmp_path):
    replace_folder(tmp_path / "target", lambda folder: (folder / "old").touch())
    with pytest.raises(ValueError, match="no"):
        replace_folder(tmp_path / "target", lambda _: (_ for _ in ()).throw(ValueError("no")))
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["old"]


def test_what_a_killed_replacement_left_is_no_part_of_the_next(tmp_path):
    (tmp_path / ".target.partial").mkdir()
    (tmp_path / ".target.partial" / "stale").touch()
    replace_folder(tmp_path / "target", lambda folder: (folder / "new").touch())
    assert names(tmp_path / "target") == ["new"]


def test_where_a_link_leads_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old").touch()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    for _ in range(2):
        replace_folder(tmp_path / "link", lambda folder: (folder / "new").touch())
    assert (tmp_path / "link").is_symlink() and names(tmp_path / "far") == ["new"]
    assert sorted(names(tmp_path)) == ["far", "link"]


def test_what_a_killed_replacement_moved_aside_comes_back(tmp_path):
    (tmp_path / ".target.old").mkdir()
    (tmp_path / ".target.old" / "old").touch()
    (tmp_path / "target").mkdir()
    bring_back_replaced(tmp_path / "target")
    assert names(tmp_path) == ["target"]
    assert names(tmp_path / "target") == ["old"]


def test_a_digest_names_content():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest("a"), digest("b"), digest("a", "b"), digest(["a", "b"]), digest(1), digest("1")}) == 6
    assert len(storage.digest(Path("a"))) == 16


def test_a_file_is_named_by_its_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_of_file(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_names_that_are_no_text_are_written_escaped(tmp_path):
    write_json(tmp_path / "one.json", {"file": "byte\udcff"})
    append_line(tmp_path / "two.jsonl", {"file": "byte\udcff"})
    assert json.loads((tmp_path / "one.json").read_text(encoding="utf-8")) == {"file": "byte\udcff"}
    assert json.loads((tmp_path / "two.jsonl").read_text(encoding="utf-8")) == {"file": "byte\udcff"}


def test_home_folders_are_those_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/runs") == tmp_path / "runs"
    assert expand_home("~") == tmp_path
    assert expand_home("~root/runs") == Path("/root/runs")
    assert expand_home("~no-such-user/runs") == Path("~no-such-user/runs")
