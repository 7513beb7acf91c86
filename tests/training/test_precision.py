"""One precision for a run: in training, in its evaluations, in its record, and in the vectors it encodes."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.encoding.encode import run_encode
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.training.train import run_training
from mmst_cli.training.training_start import build_arguments


@pytest.fixture
def bf16_from_the_environment(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")


def vectors_of(run, output, quiet, *inputs):
    run_encode(str(run), list(inputs), output, columns=["image"], batch_size=32, terminal=quiet)
    return torch.tensor(pq.read_table(output / "part-00000.parquet")["embedding"].to_pylist())


def test_a_run_under_bf16_from_the_environment(tmp_path, quiet, bf16_from_the_environment, monkeypatch):
    config = job(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=1)
    result = run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet)
    run = tmp_path / "run"
    assert load_config(run / "config.yaml").training["bf16"] is True
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    again = find_config(str(run), None, [])
    prepared = prepare_evaluation(again, quiet, ["eval"])
    metrics = prepared.suite(prepared.model)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "eval_pages_cosine_ndcg@10" in line][-1]
    for name, value in metrics.items():
        assert last[f"eval_{name}"] == pytest.approx(value, abs=1e-9), name
    assert result.after["pages"].result.full.metrics["ndcg@10"] == metrics["pages_cosine_ndcg@10"]
    measured = prepared.suite.evaluators["pages"].corpus_vectors
    encoded = vectors_of(run, tmp_path / "vectors", quiet, str(tmp_path / "eval.parquet"))
    assert torch.equal(encoded, measured)
    manifest = json.loads((tmp_path / "vectors/_manifest.json").read_text())
    assert manifest["mixed_precision"] == "bf16"


def test_the_file_has_the_last_word(tmp_path, bf16_from_the_environment):
    config = load_config(write_job(job(tmp_path, bf16=False), tmp_path / "job.yaml"))
    assert build_arguments(config, tmp_path / "run").mixed_precision == "no"


def test_weights_in_bfloat16_are_evaluated_and_encoded_so_on_the_cpu(tmp_path, quiet):
    config = job(tmp_path, max_steps=1)
    config["model"]["dtype"] = "bfloat16"
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet)
    prepared = prepare_evaluation(find_config(str(tmp_path / "run"), None, []), quiet, ["eval"])
    prepared.suite(prepared.model)
    encoded = vectors_of(tmp_path / "run", tmp_path / "vectors", quiet, str(tmp_path / "eval.parquet"))
    assert torch.equal(encoded, prepared.suite.evaluators["pages"].corpus_vectors)
