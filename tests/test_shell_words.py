"""What a message prints as a command is what a shell reads."""

import subprocess

import pytest
from omegaconf import OmegaConf

from mmst_cli.config.load import as_yaml, read_config
from mmst_cli.shell_words import joined, program

ODD = [
    "plain",
    "a b",
    "it's",
    'say "hi"',
    "$HOME `id` \\ * ;",
    "two\nlines\r",
    "tab\tbed",
    "caf\u00e9 \u2603",
    "byte\udcff'\\",
]
VALUES = [*ODD[:5], "rows #1.parquet", "a: b.parquet", "${seed}.csv", "[1].jsonl", "007", "null", "*", "caf\u00e9"]


@pytest.mark.parametrize("word", ODD)
def test_a_shell_reads_each_word_as_it_was(word):
    done = subprocess.run(["bash", "-c", "printf '%s\\0' " + joined([word, "x"])], capture_output=True, check=True)
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:2] == [word, "x"]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_read_back_from_a_file_and_from_an_override(value, tmp_path):
    (tmp_path / "job.yaml").write_text(f"run_name: {as_yaml(value)}\n")
    config = OmegaConf.to_container(OmegaConf.load(tmp_path / "job.yaml"), resolve=True)
    assert config == {"run_name": value}
    rest = "model: {name_or_path: m}\ndatasets: {}\n"
    (tmp_path / "job.yaml").write_text(rest)
    found, faults = read_config(tmp_path / "job.yaml", [f"run_name={as_yaml(value)}"])
    assert not faults and found.run_name == value


@pytest.mark.parametrize(
    ("called", "name"), [("/venv/bin/mmst", "mmst"), ("/src/mmst_cli/__main__.py", "mmst"), ("/x/pytest", "pytest")]
)
def test_a_command_is_named_as_one_can_call_it(monkeypatch, called, name):
    monkeypatch.setattr("sys.argv", [called, "train"])
    assert program() == name
