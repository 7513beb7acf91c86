"""A dry run goes the way that training goes: the same losses, precision and step, with nothing left behind."""

import json

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.errors import ConfigError
from mmst_cli.training.train import run_training


def dry_run(config, folder, quiet):
    return run_training(load_config(write_job(config, folder / "job.yaml")), dry_run=True, terminal=quiet)


@pytest.fixture
def autocast(monkeypatch):
    """Whether each forward pass in training mode ran under autocast."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    seen, forward = [], Normalize.forward

    def look(self, features):
        if self.training:
            seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, features)

    monkeypatch.setattr(Normalize, "forward", look)
    return seen


@pytest.fixture
def in_losses(monkeypatch):
    """Whether each computation of a loss, apart from the forward passes in it, was under autocast."""
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss as Loss

    seen, calculate = [], Loss.calculate_loss

    def look(self, *arguments, **options):
        seen.append(torch.is_autocast_enabled("cpu"))
        return calculate(self, *arguments, **options)

    monkeypatch.setattr(Loss, "calculate_loss", look)
    return seen


@pytest.fixture
def steps(monkeypatch):
    """The norms of the gradients that optimizers made steps with."""
    seen, step = [], AcceleratedOptimizer.step

    def look(self, *arguments):
        seen.append(
            [float(p.grad.norm()) for group in self.param_groups for p in group["params"] if p.grad is not None]
        )
        return step(self, *arguments)

    monkeypatch.setattr(AcceleratedOptimizer, "step", look)
    return seen


def test_it_computes_the_first_loss_of_the_run_under_its_autocast_and_takes_a_step(
    tmp_path, quiet, autocast, in_losses, steps
):
    config = job(tmp_path, bf16=True, max_steps=1, gradient_checkpointing=True)
    before = sorted(tmp_path.rglob("*"))
    verdict = dry_run(config, tmp_path, quiet).verdict
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "job.yaml"])
    assert autocast and all(autocast)
    assert in_losses and not any(in_losses)
    assert len(steps) == 1 and max(steps[0]) > 0
    run_training(load_config(tmp_path / "job.yaml"), terminal=quiet)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    loss = next(line["loss"] for line in lines if "loss" in line)
    assert f"gives a loss of {loss:.4f}." in verdict


@pytest.mark.parametrize("schedule", [{"max_steps": 2}, {"max_steps": -1, "num_train_epochs": 1}])
def test_a_set_that_fills_no_batch_is_told(schedule, tmp_path, quiet):
    config = job(tmp_path, per_device_train_batch_size=512, dataloader_drop_last=True, **schedule)
    with pytest.raises(ConfigError, match="no batch of 512 rows can be drawn"):
        dry_run(config, tmp_path, quiet)
    with pytest.raises(ConfigError, match="no batch of 512 rows can be drawn"):
        run_training(load_config(tmp_path / "job.yaml"), terminal=quiet)


def test_accumulated_batches_are_shown_whole(tmp_path, quiet):
    losses = {dry_run(job(tmp_path, gradient_accumulation_steps=steps), tmp_path, quiet).verdict for steps in (1, 4)}
    assert len(losses) == 1
