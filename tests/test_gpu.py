"""What only a GPU can show; its decisions are tested on the CPU with faked devices, in tests/model."""

import json
import os
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import WorkError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.model.attention import choose_attention, compute_capability
from mmst_cli.model.device_memory import CudaMemory
from mmst_cli.training.train import run_training

pytestmark = pytest.mark.gpu
STEPS = 24  # under fp16 the scaler skips the first ones, and a model that was never changed doesn't pass the gate


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """What a test changes in the environment and in torch holds for it alone."""
    for name in ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    os.environ.clear()
    os.environ.update(before)


def train(config, folder, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), **options)


def measured_again(run, quiet):
    """Return the evaluator of a run's model after it measured, and its metrics."""
    prepared = prepare_evaluation(find_config(str(run), None, []), quiet, ["eval"])
    metrics = prepared.suite(prepared.model)
    return prepared.suite.evaluators["pages"], metrics


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
    gate = json.loads((tmp_path / "run/gate.json").read_text())
    assert gate["passed"] and gate["device"].startswith("cuda") and gate["dtype"] == gate["autocast"] == "bfloat16"
    assert gate["largest_difference"] <= gate["tolerance"] < gate["smallest_movement"]


def test_the_cached_loss_takes_no_more_memory_as_steps_go_by(tmp_path):
    config = job(tmp_path, use_cpu=False, max_steps=3)
    run_training(load_config(write_job(config, tmp_path / "job.yaml")))
    first = torch.cuda.max_memory_allocated()
    config = job(tmp_path, use_cpu=False, max_steps=20)
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), overwrite=True)
    assert torch.cuda.max_memory_allocated() <= 1.05 * first


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_similarities_are_float32_and_rank_as_the_metrics_do(precision, tmp_path, quiet):
    train(job(tmp_path, use_cpu=False, max_steps=STEPS, **{precision: True}), tmp_path, terminal=quiet)
    evaluator, metrics = measured_again(tmp_path / "run", quiet)
    assert evaluator._last[0].queries.dtype == evaluator.corpus_vectors.dtype == torch.float32
    hits = evaluator.hits(evaluator.evaluation.result.full, 24)
    # In half precision a handful of values would remain of 24 similarities.
    assert min(len(np.unique(row)) for row in hits.scores) >= 20
    found = 1 / (1 + hits.relevant.argmax(axis=1))
    assert np.where(found >= 0.1, found, 0).mean() == pytest.approx(metrics["pages_cosine_mrr@10"], abs=1e-6)


def test_bf16_from_the_environment_is_recorded_and_encoded_in(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    config = job(tmp_path, use_cpu=False, max_steps=2, eval_strategy="steps", eval_steps=1)
    result = train(config, tmp_path, terminal=quiet)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    run, output = tmp_path / "run", tmp_path / "vectors"
    assert load_config(run / "config.yaml").training["bf16"] is True
    evaluator, metrics = measured_again(run, quiet)
    after = result.after["pages"].result.full.metrics["ndcg@10"]
    assert metrics["pages_cosine_ndcg@10"] == pytest.approx(after, abs=1e-6)
    run_encode(str(run), [str(tmp_path / "eval.parquet")], output, columns=["image"], terminal=quiet)
    encoded = torch.tensor(pq.read_table(output / "part-00000.parquet")["embedding"].to_pylist())
    assert json.loads((output / "_manifest.json").read_text())["mixed_precision"] == "bf16"
    assert torch.allclose(encoded, evaluator.corpus_vectors.cpu(), atol=1e-3)


@pytest.mark.parametrize("precision", [None, "bf16", "fp16"])
def test_a_dry_run_computes_the_first_loss_of_training(precision, tmp_path, quiet):
    config = job(tmp_path, use_cpu=False, max_steps=STEPS, **({precision: True} if precision else {}))
    before = sorted(tmp_path.rglob("*"))
    verdict = train(config, tmp_path, dry_run=True, terminal=quiet).verdict
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "job.yaml"])
    train(config, tmp_path, terminal=quiet)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    loss = next(line["loss"] for line in lines if "loss" in line)
    assert float(re.search(r"gives a loss of ([\d.]+)\.", verdict)[1]) == pytest.approx(loss, rel=0.01)


def test_full_determinism_makes_a_resumed_run_bitwise_the_same(tmp_path, quiet):
    config = job(tmp_path, use_cpu=False, bf16=True, full_determinism=True, save_strategy="steps", save_steps=2)
    run = tmp_path / "run"
    try:
        train(config, tmp_path, terminal=quiet)
    except WorkError as error:
        assert "training.full_determinism: true, but" in str(error)
        pytest.xfail(str(error))
    undisturbed = load_file(run / "model/model.safetensors")
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoint-4")
    train(config, tmp_path, resume=True, terminal=quiet)
    resumed = load_file(run / "model/model.safetensors")
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)


def test_attention_goes_by_the_gpu():
    capability = compute_capability(torch.device("cuda"))
    assert capability is not None and capability >= (5, 0)
    chosen = choose_attention("auto", torch.device("cuda"), torch.float32, torch.bfloat16)
    assert chosen.implementation in ("flash_attention_2", "sdpa")
    if capability < (8, 0):
        assert "compute capability" in chosen.reason


def test_the_memory_of_a_gpu_is_measured_and_freed():
    memory, held = CudaMemory(torch.device("cuda", 0)), torch.cuda.memory_allocated()
    before = memory.peak_of(lambda: None)
    assert 2**28 <= memory.peak_of(lambda: torch.empty(2**28, dtype=torch.uint8, device="cuda")) - before < 2**30
    assert memory.peak_of(lambda: torch.empty(2**50, dtype=torch.uint8, device="cuda")) is None
    assert memory.peak_of(lambda: None) - before < 2**27 and torch.cuda.memory_allocated() == held
    assert before < memory.total == torch.cuda.get_device_properties(0).total_memory


def test_sizes_are_found_by_the_memory_of_the_gpu(tmp_path, quiet):
    config = job(tmp_path, use_cpu=False, max_steps=2)
    config["loss"][0]["args"] = {"mini_batch_size": "auto"}
    found = train(config, tmp_path, terminal=quiet).found
    assert found == {"loss.0.args.mini_batch_size": 16}  # the whole batch of a tiny model
    vectors = []
    for name, size in (("asked", 32), ("found", None)):
        data = [str(tmp_path / "train.parquet")]
        run_encode(str(tmp_path / "run"), data, tmp_path / name, columns=["query"], batch_size=size, terminal=quiet)
        table = pq.read_table(tmp_path / name / "part-00000.parquet")
        vectors.append(torch.tensor(table["embedding"].to_pylist()))
    assert torch.allclose(*vectors, atol=1e-3)
    assert "of the longest texts go into a batch" in " ".join(quiet.console.file.getvalue().split())
