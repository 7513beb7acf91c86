"""A run that is killed without warning, and gone on with."""

import json
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from small_job import job, write_job

from mmst_cli.evaluation.evaluation_results import load_evaluation


def logged(run):
    try:
        text = (run / "metrics.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def losses(run):
    return [(line["step"], line["loss"], line["loss_per_dim"]) for line in logged(run) if "loss" in line]


def kill_between_checkpoints(process, run, step):
    """Kill -9 once a step past the first checkpoint was logged."""
    while process.poll() is None:
        if any(line["step"] >= step for line in logged(run)):
            process.signal(signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.02)
    pytest.fail("it ended before it could be killed")


@pytest.mark.slow
def test_killed_and_resumed_it_ends_as_one_left_alone(pair, tmp_path):
    for name in ("alone", "killed"):
        (tmp_path / name).mkdir()
        config = job(tmp_path / name, max_steps=30, save_strategy="steps", save_steps=10, eval_strategy="steps")
        config["training"] |= {"eval_steps": 10, "per_device_train_batch_size": 8}
        config["output_dir"] = "run"
        write_job(config, tmp_path / name / "job.yaml")
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    done = pair.alone(alone, "train", "job.yaml")
    assert done.returncode == 0, done.stderr
    process = pair.start(killed, "train", "job.yaml")
    kill_between_checkpoints(process, killed / "run", 13)
    assert not (killed / "run/model").exists()
    # As if it had been killed while a checkpoint was being written.
    (killed / "run/checkpoint-20").mkdir(exist_ok=True)
    (killed / "run/checkpoint-20/model.safetensors").write_bytes(b"half")
    refused = pair.alone(killed, "train", "job.yaml")
    assert refused.returncode == 2 and "--resume" in refused.stderr
    resumed = pair.alone(killed, "train", "job.yaml", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from run/checkpoint-10" in resumed.stderr
    assert "checkpoint-20 was damaged or only half written" in resumed.stderr
    assert losses(killed / "run") == losses(alone / "run")
    ours, theirs = (load_file(folder / "run/model/model.safetensors") for folder in (killed, alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for name in ("pages.json", "pages.before.json"):
        ours, theirs = (load_evaluation(folder / "run/eval" / name) for folder in (killed, alone))
        assert [cell.metrics for cell in ours.result.cells] == [cell.metrics for cell in theirs.result.cells]
        assert all((ours.per_query[key] == values).all() for key, values in theirs.per_query.items())


def test_ctrl_c_says_where_it_stood_and_how_to_go_on(pair, tmp_path):
    write_job(job(tmp_path, max_steps=500, save_strategy="steps", save_steps=5), tmp_path / "job.yaml")
    process = pair.start(tmp_path, "train", "job.yaml")
    while not any(line["step"] >= 7 for line in logged(tmp_path / "run")):
        assert process.poll() is None, process.err
        time.sleep(0.02)
    process.signal(signal.SIGINT)
    assert process.wait() == 130, process.err
    assert "interrupted at step" in process.err and "--resume` goes on from step" in process.err
    assert "Traceback" not in process.err
    assert "interrupted at step" in (tmp_path / "run/log.txt").read_text()
