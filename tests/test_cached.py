"""`mmst cache`: what is kept to be used again, by kind, and removing it."""

import json

import pytest
from typer.testing import CliRunner

from mmst_cli.cli import app


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MMST_CACHE", str(folder))
    for name, size in (
        ("prepared/a1/x.arrow", 10),
        ("prepared/b2/y.arrow", 20),
        ("media/c3", 3),
        ("mined-d4/part.parquet", 4),
        ("pages-train-e5/rows.parquet", 5),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return folder


def mmst(*arguments):
    return CliRunner().invoke(app, ["cache", *arguments])


def sizes(*arguments):
    (found,) = [value for key, value in json.loads(mmst(*arguments, "--json").stdout).items() if key != "folder"]
    return {one["kind"]: (one["files"], one["bytes"]) for one in found}


def test_what_there_is_by_kind(cache):
    assert sizes() == {"prepared": (2, 30), "media": (1, 3), "mined": (1, 4), "generated": (1, 5)}
    shown = mmst("list")
    assert shown.exit_code == 0 and "30 bytes" in shown.stdout and "42 bytes" in shown.stdout


def test_a_kind_is_removed_and_the_others_stay(cache):
    assert sizes("clear", "prepared") == {"prepared": (2, 30)}
    assert sizes()["prepared"] == (0, 0) and sizes()["mined"] == (1, 4)
    assert mmst("clear", "all").exit_code == 0
    assert not any(files for files, _ in sizes().values())


def test_of_no_cache_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "none"))
    assert not any(files for files, _ in sizes().values())
    assert mmst("clear", "all").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clear"], "name what to remove"),
        (["clear", "prepare"], "Did you mean prepared?"),
        (["list", "media"], "it takes no kind"),
    ],
)
def test_mistakes(cache, arguments, said):
    done = mmst(*arguments)
    assert done.exit_code == 2 and said in done.stderr and sizes()["prepared"] == (2, 30)
