"""Runs that are told to stop: a checkpoint of the step they were in, and on from there as if nothing had been."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import typer
from safetensors.torch import load_file
from small_job import write_job
from text_job import run, text_job

from mmst_cli.cli.app import told_in_one_line
from mmst_cli.errors import Interrupted
from mmst_cli.runs import RunFolder


def weights(folder):
    return load_file(folder / "run/model/model.safetensors")


def signalled(terminal, *numbers, at="step 3/", apart=0.0):
    """Let a terminal send signals to this process when a line begins so."""
    say = terminal.say

    def say_and_send(message="", *rest, **style):
        say(message, *rest, **style)
        if str(message).startswith(at):
            terminal.say = say
            for number in numbers:
                os.kill(os.getpid(), number)
                time.sleep(apart)

    terminal.say = say_and_send
    return terminal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("saving", [{"save_strategy": "no"}, {"save_strategy": "steps", "save_steps": 2}])
def test_the_step_is_finished_and_the_resumed_run_ends_as_one_left_alone(tmp_path, quiet, number, saving):
    for name in ("alone", "stopped"):
        (tmp_path / name).mkdir()
    jobs = {name: text_job(tmp_path / name, max_steps=9, save_total_limit=1, **saving) for name in ("alone", "stopped")}
    run(jobs["alone"], tmp_path / "alone", quiet)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        run(jobs["stopped"], tmp_path / "stopped", signalled(quiet, number))
    assert caught.value.exit_code == 128 + number
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    folder = RunFolder(tmp_path / "stopped/run")
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-4"]  # of the step it was in, and no other
    said = quiet.console.file.getvalue().replace("\n", " ")
    assert "interrupted at step 4." in said and "--resume` goes on from step 4." in said
    run(jobs["stopped"], tmp_path / "stopped", quiet, resume=True)
    ours, theirs = weights(tmp_path / "stopped"), weights(tmp_path / "alone")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_best_checkpoint_stays_beside_it(tmp_path, quiet):
    """With one checkpoint kept, the end of training would load the best and remove the one that was just saved."""
    from text_job import evaluated

    config = evaluated(text_job(tmp_path, max_steps=9, save_strategy="steps", save_steps=2, save_total_limit=1))
    config["training"] |= {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    config["training"] |= {"metric_for_best_model": "texts_cosine_ndcg@10"}
    with pytest.raises(Interrupted):
        run(config, tmp_path, signalled(quiet, signal.SIGTERM, at="step 7/"))
    assert "checkpoint-8" in [path.name for path in RunFolder(tmp_path / "run").checkpoints()]


def test_a_second_ctrl_c_stops_at_once(tmp_path, quiet):
    with pytest.raises(Interrupted):
        run(text_job(tmp_path), tmp_path, signalled(quiet, signal.SIGINT, signal.SIGINT, apart=0.6))
    assert not RunFolder(tmp_path / "run").checkpoints()
    assert "interrupted at step 3. No checkpoint was saved yet" in quiet.console.file.getvalue().replace("\n", " ")


def test_a_signal_that_comes_twice_at_once_is_one(tmp_path, quiet):
    with pytest.raises(Interrupted):
        run(text_job(tmp_path), tmp_path, signalled(quiet, signal.SIGINT, signal.SIGINT, signal.SIGTERM))
    assert RunFolder(tmp_path / "run").checkpoints()


@pytest.mark.parametrize("at", ["evaluation after", "gate: ", "step 9/9  evaluation"])
def test_what_comes_after_the_last_step_is_made_up_for(tmp_path, quiet, at):
    """Nothing is trained twice, although no checkpoint was asked for."""
    from text_job import evaluated

    config = evaluated(text_job(tmp_path, max_steps=9))
    config["training"] |= {"eval_strategy": "steps", "eval_steps": 9} if at.startswith("step") else {}
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, signalled(quiet, signal.SIGINT, at=at))
    assert [path.name for path in RunFolder(tmp_path / "run").checkpoints()] == ["checkpoint-9"]
    assert "--resume` goes on from step 9." in quiet.console.file.getvalue().replace("\n", " ")
    begun = quiet.console.file.tell()
    run(config, tmp_path, quiet, resume=True)
    assert "step 9/9" not in quiet.console.file.getvalue()[begun:]
    assert (tmp_path / "run/model").is_dir()


def test_an_evaluation_that_fails_at_the_end_costs_no_training(tmp_path, quiet, monkeypatch):
    from text_job import evaluated

    from mmst_cli.errors import WorkError
    from mmst_cli.training.measurements import Measurements

    def fail(*_):
        raise WorkError("no room")

    config = evaluated(text_job(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(WorkError, match="no room"):
        patch.setattr(Measurements, "evaluate_after", fail)
        run(config, tmp_path, quiet)
    assert [path.name for path in RunFolder(tmp_path / "run").checkpoints()] == ["checkpoint-6"]
    assert run(config, tmp_path, quiet, resume=True).after


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (Interrupted(15), 143), (Interrupted(2), 130)])
def test_exit_codes(error, code):
    with pytest.raises(typer.Exit) as caught, told_in_one_line():
        raise error
    assert caught.value.exit_code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_where_exceptions_are_ignored_is_not_lost(number):
    code = f"""
import os, sys, time, weakref, typer
from mmst_cli import cli
from mmst_cli.cli.app import told_in_one_line

def work():
    try:
        with told_in_one_line():
            thing = type("Thing", (), {{}})()
            kept = weakref.ref(thing, lambda _: (os.kill(os.getpid(), {int(number)}), time.sleep(0.1)))
            del thing
            time.sleep(20)
    except typer.Exit as error:
        sys.exit(error.exit_code)

cli.app = work
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + number, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_process_ends_is_no_traceback(number):
    late = f"import atexit, os; atexit.register(os.kill, os.getpid(), {int(number)})"
    command = [sys.executable, "-c", f"{late}; from mmst_cli.cli import main; main()", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -number and not done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["evaluation before", "step 1/"])
def test_the_whole_group_with_data_workers(pair, tmp_path, number, at):
    """As a terminal's Ctrl-C, or a supervisor, signals a command and its workers: no traceback, and none swallowed."""
    from text_job import evaluated

    config = evaluated(text_job(tmp_path, max_steps=2000, dataloader_num_workers=2, per_device_train_batch_size=4))
    write_job(config, tmp_path / "job.yaml")
    process = pair.start(tmp_path, "train", "job.yaml")
    while not any(line.startswith(at) for line in process.err.splitlines()):
        assert process.poll() is None, process.err
        time.sleep(0.02)
    process.signal(number, group=True)
    assert process.wait() == 128 + number, process.err
    rest = process.out + process.err
    assert "Traceback" not in rest and "Exception ignored" not in rest
    begun = "goes on from step" in rest
    assert begun or (at == "evaluation before" and "--overwrite` starts again." in rest), rest


def test_a_loader_that_an_error_holds_does_not_keep_the_process_from_ending():
    script = """
import torch
from torch.utils.data import DataLoader
from mmst_cli.training.stop_signals import end_workers_at_exit, outlive_first_sigterm
end_workers_at_exit()
held = iter(DataLoader(range(100), num_workers=1, worker_init_fn=lambda _: outlive_first_sigterm()))
next(held)
import atexit; atexit.register(lambda: held)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == 0
