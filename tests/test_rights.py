"""Folders and files that the user has no right to write or to read: one sentence, and what was whole stays whole."""

import ctypes
import os
import shutil
import sys

import pytest
from forked_command import into_files, run_forked
from small_job import write_job
from text_job import evaluated, text_job

from mmst_cli.builtin.registry import build_builtin


def give_up_rights():
    """Make this process one that permissions hold for, as they don't for root."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(header, none) == 0


@pytest.fixture
def mmst(tmp_path):
    """A function that runs a command with the rights to one path taken; gives exit code, stderr and what changed."""
    import mmst_cli.checking.check
    import mmst_cli.encoding.encode
    import mmst_cli.mining.mine
    import mmst_cli.training.train  # noqa: F401  (once, and not in each fork)

    def files():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    def run(path, mode, *arguments):
        before, kept = files(), path.stat().st_mode
        path.chmod(mode)
        out, err = tmp_path.with_name(f"{tmp_path.name}-out"), tmp_path.with_name(f"{tmp_path.name}-err")
        if (child := os.fork()) == 0:
            sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # the files, and not what pytest put before them
            give_up_rights()
            os._exit(run_forked(arguments, into_files(out, err)))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        path.chmod(kept)
        return code, err.read_text(), files() == before

    return run


@pytest.fixture
def folder(tmp_path):
    """A job, the model of a run, a run that was stopped after its first checkpoint, and an empty folder."""
    job = write_job(evaluated(text_job(tmp_path)), tmp_path / "job.yaml")
    shutil.copytree(build_builtin("builtin:tiny-text"), tmp_path / "model")
    (tmp_path / "run/checkpoint-2").mkdir(parents=True)
    (tmp_path / "run/checkpoint-2/optimizer.pt").write_text("state")
    shutil.copy(job, tmp_path / "run/config.yaml")
    (tmp_path / "empty").mkdir()
    return tmp_path


ENCODE = ["encode", "{}/model", "{}/rows.parquet", "--column", "doc", "--output", "{}/vectors"]
CASES = {
    # what is closed, to writing (0o555) or altogether, the command, how its sentence begins
    "output_dir": ("empty", 0o555, ["train", "{}/job.yaml", "output_dir={}/empty"], "output_dir: {}/empty can't be"),
    "above it": ("empty", 0o555, ["train", "{}/job.yaml", "output_dir={}/empty/run"], "output_dir: {}/empty/run can't"),
    "a dry run": ("empty", 0o555, ["train", "{}/job.yaml", "output_dir={}/empty", "--dry-run"], "output_dir: {}/empty"),
    "a checkpoint": (
        "run/checkpoint-2",
        0,
        ["train", "{}/job.yaml", "--resume"],
        "--resume: {}/run/checkpoint-2 can't",
    ),
    "a file of it": (
        "run/checkpoint-2/optimizer.pt",
        0,
        ["train", "{}/job.yaml", "--resume"],
        "--resume: {}/run/check",
    ),
    "the model": ("model", 0, ENCODE, "{}/model: {}/model can't be read: permission denied."),
    "its weights": ("model/model.safetensors", 0, ENCODE, "{}/model: {}/model/model.safetensors can't be read"),
    "vectors": ("empty", 0o555, [*ENCODE[:-1], "{}/empty"], "--output: {}/empty can't be written: permission denied."),
    "mined": (
        "empty",
        0o555,
        ["mine", "{}/job.yaml", "--output", "{}/empty/m.parquet"],
        "--output: {}/empty/m.parquet",
    ),
    "clean": (
        "empty",
        0o555,
        ["check", "{}/job.yaml", "--all", "--write-clean", "{}/empty/c.parquet"],
        "--write-clean: {}/empty",
    ),
    "results": (
        "empty",
        0o555,
        ["eval", "{}/model", "--config", "{}/job.yaml", "--output", "{}/empty"],
        "--output: {}/",
    ),
    "the model to evaluate": ("model", 0, ["eval", "{}/model", "--config", "{}/job.yaml"], "{}/model can't be read: "),
    "the data": ("rows.parquet", 0, ["train", "{}/job.yaml"], "datasets.train.path: {}/rows.parquet can't be loaded"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_closed_is_named_and_nothing_changes(mmst, folder, case):
    closed, mode, arguments, words = CASES[case]
    if case == "the data":
        shutil.rmtree(folder / "run")
    named = [text.replace("{}", str(folder)) for text in (words, *arguments)]
    code, said, untouched = mmst(folder / closed, mode, *named[1:])
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(errors) == 1 and "Traceback" not in said, said
    assert errors[0].startswith(f"error: {named[0]}") and "ermission denied" in errors[0], errors
    assert untouched and not (folder / "vectors").exists()


def test_the_cache_of_what_comes_with_it(mmst, folder, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(folder / "empty"))
    code, said, untouched = mmst(folder / "empty", 0o555, "encode", "builtin:tiny-clip", *ENCODE[2:])
    assert code == 2 and untouched
    assert f"error: {folder}/empty can't be written: permission denied. Set MMST_CACHE" in said, said
