"""The launchers themselves: one run stopped and gone on with by each, and a model spread over processes refused."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_job import write_job
from text_job import evaluated, text_job

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError

TWO = ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
LAUNCHERS = {
    "mmst": [],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"],
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", *TWO],
}


def start(launcher, job, *arguments):
    return subprocess.Popen(
        [sys.executable, *LAUNCHERS[launcher], "-m", "mmst_cli", "train", str(job), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def steps(folder):
    lines = map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines if "loss" in line]


@pytest.mark.slow
def test_a_run_stopped_and_resumed_by_every_launcher_ends_as_one_left_alone(tmp_path):
    jobs = {}
    for name in ("alone", "stopped"):
        (tmp_path / name).mkdir()
        config = evaluated(text_job(tmp_path / name, max_steps=40, per_device_train_batch_size=4))
        jobs[name] = write_job(config, tmp_path / name / "job.yaml")
    alone = start("torchrun", jobs["alone"])
    _, err = alone.communicate(timeout=400)
    assert alone.returncode == 0, err
    stopped = start("mmst", jobs["stopped"], "--num-processes", "2")
    said = [line for line in iter(stopped.stderr.readline, "") if not line.startswith("step 8/") or _stop(stopped)]
    assert stopped.wait(400) == 130, said
    assert "".join(said).count("goes on from step") == 1 and "Traceback" not in "".join(said)
    resumed = start("accelerate", jobs["stopped"], "--resume")
    out, err = resumed.communicate(timeout=400)
    assert resumed.returncode == 0, err
    assert out.count("report: ") == 1 and err.count("step 40/40") == 1
    assert len(steps(tmp_path / "alone")) == 40 and steps(tmp_path / "alone") == steps(tmp_path / "stopped")
    ours, theirs = (load_file(tmp_path / name / "run/model/model.safetensors") for name in jobs)
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def _stop(process):
    """Do as a terminal does at Ctrl-C."""
    os.killpg(process.pid, signal.SIGINT)
    return True


SPREAD = {
    "FSDP": ["--use_fsdp", *TWO],
    "Megatron-LM": ["--use_megatron_lm", *TWO],
    "a device mesh": ["--multi_gpu", "--use_parallelism_config", "--parallelism_config_dp_shard_size", "2", *TWO],
    "DeepSpeed": ["--use_deepspeed", *TWO],
}


@pytest.mark.parametrize("what", SPREAD)
def test_what_accelerate_says_of_a_spread_model_is_refused(tmp_path, monkeypatch, what):
    """In the variables that accelerate's launcher itself sets from such arguments, or from its config file."""
    from accelerate.commands.launch import launch_command_parser
    from accelerate.utils import launch

    prepare = launch.prepare_multi_gpu_env
    if what == "DeepSpeed":
        monkeypatch.setattr(launch, "is_port_in_use", lambda _: False)

        def prepare(args):
            return launch.prepare_deepspeed_cmd_env(args)[1]

    arguments = launch_command_parser().parse_args([*SPREAD[what], "--main_process_port", "0", "job.py"])
    for name, default in {"deepspeed_fields_from_accelerate_config": "", "mixed_precision": "no"}.items():
        setattr(arguments, name, getattr(arguments, name, None) or default)
    for name, value in prepare(arguments).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=f"the launcher asks for {what} .*--num-processes"):
        check_config(load_config(write_job(text_job(tmp_path), tmp_path / "job.yaml")))
