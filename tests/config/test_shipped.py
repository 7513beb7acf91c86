"""`mmst init`: the configs that come with mmst, listed and written."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.config.shipped import shipped_configs

ROOT = Path(__file__).parents[2]
NAMES = [config.name for config in shipped_configs()]


@pytest.fixture
def init(tmp_path, monkeypatch):
    """A function that runs `mmst init` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["init", *map(str, arguments)])


def test_the_list_has_a_line_for_each(init):
    result = init()
    assert result.exit_code == 0
    assert len(NAMES) == len(list((ROOT / "configs").glob("*.yaml"))) > 5
    for config in shipped_configs():
        assert re.search(rf"^{config.name} ", result.stdout, re.MULTILINE)
        assert config.description.endswith(".")
        assert "configs/" not in config.description
    listed = json.loads(init("--json").stdout)["configs"]
    assert [entry["name"] for entry in listed] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_the_config_with_its_comments_and_commands_that_name_it(name, init, tmp_path):
    target = tmp_path / "some where" / "my.yaml"
    result = init(name, "--output", target)
    assert result.exit_code == 0, result.output
    assert load_config(target) == load_config(ROOT / f"configs/{name}.yaml")
    text = target.read_text()
    assert f"#   mmst train '{target}'" in text
    assert "configs/" not in text
    assert text.count("#") == (ROOT / f"configs/{name}.yaml").read_text().count("#")


def test_without_output_it_is_written_here_under_its_name(init, tmp_path):
    result = init("vdr")
    assert (tmp_path / "vdr.yaml").is_file()
    assert "wrote vdr.yaml" in result.stdout
    assert json.loads(init("vdr", "--output", "b.yaml", "--json").stdout)["config"] == "b.yaml"


def test_nothing_is_overwritten_unasked(init, tmp_path):
    mine = tmp_path / "vdr.yaml"
    mine.write_text("mine")
    result = init("vdr")
    assert result.exit_code == 2
    assert "vdr.yaml exists" in result.stderr
    assert mine.read_text() == "mine"
    assert init("vdr", "--overwrite").exit_code == 0
    assert load_config(mine).run_name == "Qwen3-VL-Embedding-2B-vdr"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quikstart"], "Did you mean quickstart?"),
        (["nothing-like-it"], "There are quickstart,"),
        (["vdr", "--output", "my.txt"], "ends in .yaml"),
        (["--output", "my.yaml"], "name the config to write"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(arguments, words, init, tmp_path):
    result = init(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("looked_for", "command"),
    [
        ("configs/quickstart.yaml", "mmst init quickstart --output configs/quickstart.yaml"),
        ("vdr", "mmst init vdr --output vdr.yaml"),
    ],
)
def test_a_missing_config_of_a_known_name_says_how_to_get_it(looked_for, command, init):
    result = CliRunner().invoke(app, ["train", looked_for])
    assert result.exit_code == 2
    assert f"`{command}` writes it." in result.stderr


@pytest.mark.slow
def test_a_wheel_holds_the_configs_once(tmp_path):
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in tracked.split("\0"):
        if name.startswith(("src/", "pyproject", "README", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / built.stdout.split()[-1]) as wheel:
        found = [name for name in wheel.namelist() if name.endswith((".yaml", ".json")) and "dist-info" not in name]
    assert sorted(found) == sorted(f"mmst_cli/configs/{name}.yaml" for name in NAMES)
