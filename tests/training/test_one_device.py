"""One process is one device, however many there are."""

import pytest
import torch
from small_job import job, write_job

from mmst_cli import processes
from mmst_cli.config.load import load_config
from mmst_cli.training.one_device import idle_devices
from mmst_cli.training.train import run_training
from mmst_cli.training.training_start import build_arguments

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def two_devices(monkeypatch):
    """Two devices, as far as the trainer's arguments can tell; they are CPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def test_the_trainer_is_not_told_of_a_second_device(tmp_path, two_devices):
    config = load_config(write_job(job(tmp_path, use_cpu=False), tmp_path / "job.yaml"))
    arguments = build_arguments(config, tmp_path / "run")
    assert arguments._n_gpu == 2, "the trainer's arguments count devices elsewhere now"
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == 16
    assert str(arguments.parallel_mode) == "ParallelMode.NOT_PARALLEL"


def test_a_run_beside_a_second_device(tmp_path, two_devices, quiet, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("split over devices")

    monkeypatch.setattr(torch.nn.DataParallel, "__init__", refuse)
    config = job(tmp_path, use_cpu=False, max_steps=1)
    config["evaluators"] = {}
    assert run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet).steps == 1
    assert "DataParallel" not in quiet.console.file.getvalue()


def test_idle_devices_are_told_of(two_devices, monkeypatch):
    assert "`mmst train CONFIG --num-processes 2`" in idle_devices(GPU)
    assert idle_devices(CPU) is None
    with monkeypatch.context() as launched:
        for name, value in zip(processes.VARIABLES, ("0", "0", "2", "localhost", "1"), strict=True):
            launched.setenv(name, value)
        assert idle_devices(GPU) is None
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert idle_devices(GPU) is None
