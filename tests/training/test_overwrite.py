"""A run that is to be replaced is there until the new one can be gone on with, and a place is one run's at a time."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from resumed_job import as_config, text_job, train

from mmst_cli.aside import is_aside
from mmst_cli.errors import DataError, MmstError, WorkError
from mmst_cli.output_claim import claimed
from mmst_cli.runs import RunFolder
from mmst_cli.training.collator import TypedCollator
from mmst_cli.training.measurements import Measurements
from mmst_cli.training.train import run_training


def everything(folder):
    """Return all files below a folder, but for what a failed run left, with their content."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {name: content for name, content in found.items() if not name.startswith("failed/")}


def test_a_wrong_argument_leaves_the_finished_run(tmp_path):
    config = text_job(tmp_path)
    train(config, tmp_path)
    before = everything(tmp_path / "run")
    config["training"]["lr_scheduler_type"] = "cosine_with_min_lr"  # refused when the schedule is built
    with pytest.raises(Exception, match="min_lr"):
        train(config, tmp_path, overwrite=True)
    assert everything(tmp_path / "run") == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_failure_in_the_first_step_leaves_the_finished_run(failure, tmp_path, monkeypatch, capsys):
    config = text_job(tmp_path)
    train(config, tmp_path)
    events = tmp_path / "run/runs/Jan01_00-00-00_host/events.out.tfevents.1.host"
    events.parent.mkdir(parents=True)
    events.write_bytes(b"curves")
    before = everything(tmp_path / "run")

    collate = TypedCollator.__call__

    def fail(self, rows):
        if is_aside(tmp_path / "run"):  # and not while it is rehearsed
            raise failure("in the first step")
        return collate(self, rows)

    with monkeypatch.context() as patched:
        patched.setattr(TypedCollator, "__call__", fail)
        with pytest.raises(failure):
            train(config, tmp_path, overwrite=True)
    assert everything(tmp_path / "run") == before
    assert "is there again, as it was" in capsys.readouterr().err
    assert "resolved" not in (tmp_path / "run/failed/log.txt").read_text()
    train(config, tmp_path, overwrite=True)
    assert not events.exists()
    assert not (tmp_path / "run/failed").exists()


@pytest.mark.parametrize("replaces", [False, True])
def test_what_is_refused_before_a_step_leaves_nothing_behind(replaces, tmp_path, monkeypatch):
    config = text_job(tmp_path)
    if replaces:
        train(config, tmp_path)
    before = everything(tmp_path / "run")

    def refuse(measurements):
        measurements.run.log_metrics({"step": 0})
        raise DataError("row 7 of eval can't be read")

    monkeypatch.setattr(Measurements, "evaluate_before", refuse)
    with pytest.raises(DataError, match="row 7"):
        train(config, tmp_path, overwrite=replaces)
    assert everything(tmp_path / "run") == before
    assert (tmp_path / "run").exists() == replaces and not (tmp_path / "run/failed").exists()


def test_from_its_first_checkpoint_on_the_new_run_is_the_run(tmp_path, monkeypatch):
    config = text_job(tmp_path)
    train(config, tmp_path)
    collate, begun, batches = TypedCollator.__call__, [], []
    set_aside = RunFolder.set_aside

    def begin(run):
        begun.append(run)
        return set_aside(run)

    def fail_at_fifth(self, rows):
        if begun:
            batches.append(rows)
        if len(batches) == 5:
            raise KeyboardInterrupt
        return collate(self, rows)

    config["training"]["learning_rate"] = 1e-4
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "set_aside", begin)
        patched.setattr(TypedCollator, "__call__", fail_at_fifth)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path, overwrite=True)
    assert not (tmp_path / "run/model").exists()
    assert not (tmp_path / "run/.replaced").exists()
    assert train(config, tmp_path, resume=True).steps == 6


def test_killed_before_its_first_checkpoint_the_old_run_comes_back(pair, tmp_path):
    config = text_job(tmp_path)
    train(config, tmp_path)
    before = everything(tmp_path / "run")
    process = pair.start(tmp_path, "train", "job.yaml", "--overwrite", "training.max_steps=5000")
    while not (tmp_path / "run/.replaced").exists():
        assert process.poll() is None, process.err
        time.sleep(0.01)
    process.signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(MmstError, match="already holds a run"):
        run_training(as_config(config, tmp_path / "job.yaml"))
    assert everything(tmp_path / "run") == before


def test_two_at_once_are_refused(tmp_path):
    config = text_job(tmp_path)
    with claimed(tmp_path / "run", "output_dir"), pytest.raises(MmstError, match=r"^output_dir: .*run is in use by"):
        train(config, tmp_path)
    assert not (tmp_path / "run").exists()


def test_home_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = text_job(tmp_path, max_steps=1)
    config["output_dir"] = "~/runs/first"
    result = train(config, tmp_path)
    assert (tmp_path / "home/runs/first/model").is_dir()
    assert str(tmp_path / "home/runs/first") in result.next_command
    assert not Path("~").exists()


def test_a_worker_that_the_system_ends_is_told_of(tmp_path, monkeypatch):
    import torch

    collate = TypedCollator.__call__

    def killed(self, rows):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return collate(self, rows)

    monkeypatch.setattr(TypedCollator, "__call__", killed)
    config = text_job(tmp_path, dataloader_num_workers=1)
    with pytest.raises(WorkError, match=r"the system ended a process that reads the data .*dataloader_num_workers"):
        train(config, tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)  # files of it may still be mapped


def test_a_disk_that_is_full_leaves_the_last_whole_checkpoint(tmp_path, small_disk):
    config = text_job(tmp_path, save_steps=1)
    config["output_dir"] = str(small_disk / "run")
    with pytest.raises(WorkError, match=r"(is full|full disk).* --resume` goes on from step \d") as caught:
        train(config, tmp_path)
    step = int(str(caught.value).split("from step ")[1].rstrip("."))
    assert [path.name for path in (small_disk / "run").glob("checkpoint-*")] == [
        f"checkpoint-{number}" for number in range(1, step + 1)
    ]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert train(config, tmp_path, resume=True).steps == 6
    lines = [json.loads(line) for line in (small_disk / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
