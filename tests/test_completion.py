"""What a shell is offered where Tab is pressed, asked as its completion script asks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "quickstart.yaml"
PROGRAM = "import sys; sys.argv[0] = 'mmst'; from mmst_cli.cli import main; main()"


@pytest.fixture
def folder(tmp_path):
    """A folder with two runs and a config."""
    for number, name in enumerate(("first", "second")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        file = tmp_path / "runs" / name / "config.yaml"
        file.write_text(CONFIG.read_text())
        os.utime(file, (number, number))
    (tmp_path / "job.yaml").write_text(CONFIG.read_text())
    return tmp_path


def ask(folder, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout


def in_bash(folder, *words):
    """Return what is offered for the last of these words, as bash splits a line into them."""
    line = " ".join(["mmst", *words])
    return ask(folder, _MMST_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words))).split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], {"train"}),
        (["train", "--dr"], {"--dry-run"}),
        (
            ["train", "job.yaml", "training.learning_rat"],
            {"training.learning_rate=", "training.learning_rate_mapping="},
        ),
        (["train", "job.yaml", "model.adapter.al"], {"model.adapter.alpha=", "model.adapter.alpha=32"}),
        (["train", "job.yaml", "datasets."], {"datasets.train.", "datasets.eval."}),
        (["train", "job.yaml", "datasets.train.columns.im"], None),
        (["train", "job.yaml", "loss.1.args.n"], {"loss.1.args.n_dims_per_step=", "loss.1.args.n_dims_per_step=-1"}),
        (["train", "job.yaml", "loss.1.args.scale"], set()),
        (["train", "job.yaml", "loss.0.args.guide"], set()),
        (["train", "job.yaml", "training.bf16", "="], {"true", "false"}),
        (["train", "job.yaml", "training.bf16", "=", "t"], {"true"}),
        (["train", "job.yaml", "training.bf16", "=", "true", "run_n"], {"run_name=", "run_name=run"}),
        (["train", "no.yaml", "training.see"], {"training.seed=", "training.seed=42"}),
        (["plan", "job.yaml", "--device", "rtx-4"], {"rtx-4090"}),
        (["mine", "job.yaml", "run_n"], {"run_name=", "run_name=run"}),
        (["schema", "model.adapter.me"], {"model.adapter.merge"}),
        (["schema", "model.ada"], None),
        (["schema", "MatryoshkaL"], None),
        (["init", "vdr-"], {"vdr-fp32", "vdr-lora"}),
        (["eval", "runs/f"], {"runs/first"}),
        (["eval", "runs/first", "training.see"], {"training.seed=", "training.seed=42"}),
        (["encode", "runs/"], {"runs/first", "runs/second"}),
        (["merge", "runs/first", "runs/s"], {"runs/second"}),
        (["export", ""], {"runs/first", "runs/second"}),
        (["inspect-modalities", "some/file"], set()),
    ],
)
def test_what_bash_is_offered(words, offered, folder):
    found = in_bash(folder, *words)
    assert len(found) == len(set(found))
    if offered is None:
        assert len(found) > 2
        assert all(text.startswith(words[-1]) for text in found)
    else:
        assert set(found) == offered


def test_zsh_and_fish_are_told_what_each_is(folder):
    line = "mmst train job.yaml training.save_str"
    zsh = ask(folder, _MMST_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line)
    assert zsh.startswith("_arguments")
    assert '"training.save_strategy=best":"The checkpoint save strategy to adopt during training.' in zsh
    fish = ask(
        folder, _MMST_COMPLETE="complete_fish", _TYPER_COMPLETE_FISH_ACTION="get-args", _TYPER_COMPLETE_ARGS=line
    )
    assert "training.save_strategy=epoch\tThe checkpoint save strategy" in fish
    value = ask(folder, _MMST_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="mmst train job.yaml training.bf16=t")
    assert '"training.bf16=true"' in value
    assert "false" not in value


def test_a_section_goes_on_to_what_is_in_it(folder):
    assert "model.adapter.r=" in in_bash(folder, "train", "job.yaml", "model.ada")
    assert {"model.adapter.r", "model.adapter.init"} <= set(in_bash(folder, "schema", "model.ada"))
    assert {"model", "model."} <= set(in_bash(folder, "schema", "m"))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_script_for_bash_fills_in_what_is_offered(folder):
    script = ask(folder, _MMST_COMPLETE="source_bash")
    (folder / "mmst").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}"\n')
    (folder / "mmst").chmod(0o755)
    asked = f"{script}\nCOMP_WORDS=(mmst train job.yaml training.weight)\nCOMP_CWORD=3\n_mmst_completion mmst\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", asked + 'printf "%s\\n" "${COMPREPLY[@]}"'],
        **{"env": environment, "cwd": folder, "capture_output": True, "text": True, "check": True},
    )
    assert done.stdout.split() == ["training.weight_decay=", "training.weight_decay=0.0"]


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", ".config/fish")])
def test_it_is_installed_for_the_shell_that_asks(shell, file, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    (tmp_path / "mmst").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    (tmp_path / "mmst").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), "PATH": path}
    done = subprocess.run(  # a second command keeps the shell where it would become the first
        [shell, "-c", "mmst --install-completion && echo installed"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{shell} completion installed" in done.stdout
    assert (tmp_path / file).exists()


def test_asking_loads_no_torch(folder):
    environment = {"_MMST_COMPLETE": "complete_bash", "COMP_WORDS": "mmst train job.yaml tr", "COMP_CWORD": "3"}
    environment |= {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    code = f"import atexit\natexit.register(lambda: print('torch' in sys.modules))\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] == "False"
