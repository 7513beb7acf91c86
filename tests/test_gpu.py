"""What only a GPU can show; its decisions are tested on the CPU with faked devices, in tests/model."""

import json

import pytest
import torch
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.training.train import run_training

pytestmark = pytest.mark.gpu


def test_mixed_precision_is_the_same_in_training_at_the_end_and_afterwards(tmp_path):
    config = job(tmp_path, bf16=True, use_cpu=False, eval_strategy="steps", eval_steps=2, max_steps=2)
    result = run_training(load_config(write_job(config, tmp_path / "job.yaml")))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    scored = [line["eval_pages_cosine_ndcg@10"] for line in lines if "eval_pages_cosine_ndcg@10" in line]
    again = run_evaluation(find_config(str(tmp_path / "run"), None, [])).evaluations["pages"].result
    after = result.after["pages"].result
    assert scored[-1] == after.full.metrics["ndcg@10"] == again.full.metrics["ndcg@10"]
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["devices"][0] == torch.cuda.get_device_name(0)


def test_the_cached_loss_takes_no_more_memory_as_steps_go_by(tmp_path):
    config = job(tmp_path, use_cpu=False, max_steps=3)
    run_training(load_config(write_job(config, tmp_path / "job.yaml")))
    first = torch.cuda.max_memory_allocated()
    config = job(tmp_path, use_cpu=False, max_steps=20)
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), overwrite=True)
    assert torch.cuda.max_memory_allocated() <= 1.05 * first
