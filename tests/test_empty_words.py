"""An empty word of the command line is no folder, and nothing that was left out."""

import subprocess
import sys

import pytest

from mmst_cli.cli.empty_words import refuse_empty_words
from mmst_cli.errors import ConfigError, ModelError
from mmst_cli.model.load_model import find_model


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["eval", ""], "argument 1"),
        (["encode", "run", "", "--output", "v"], "argument 2"),
        (["search", "v", "x", "--model", ""], "--model"),
        (["search", "v", "x", "--model="], "--model"),
        (["search", "v", "-k", ""], "-k"),
        (["encode", "m", "--output=v", ""], "argument 3"),
    ],
)
def test_an_empty_word_is_named(words, named):
    with pytest.raises(ConfigError, match=f"^{named}: it is empty"):
        refuse_empty_words(words)


def test_others_pass():
    refuse_empty_words(["train", "job.yaml", "run_name=", "--output=v", "--weights=1,2", "-", " "])


def test_the_command_says_so_instead_of_taking_the_newest_run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    command = [sys.executable, "-m", "mmst_cli", "eval", ""]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: argument 1: it is empty") and ended.stderr.count("\n") == 1


def test_the_folder_one_is_in_is_no_model_without_a_name(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert find_model(".")
    with pytest.raises(ModelError, match="the name of a model is empty"):
        find_model("")
