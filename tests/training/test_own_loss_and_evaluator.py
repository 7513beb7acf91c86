"""A user's own loss and evaluator, from a module in the working directory, train, evaluate and are evaluated again."""

from __future__ import annotations

import json
import subprocess
import sys
from textwrap import dedent

import pytest
from small_job import job, write_job

from mmst_cli.config.rules import load_checked_config
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import find_config
from mmst_cli.training.train import run_training

PARTS = """
    import torch
    from sentence_transformers.evaluation import SentenceEvaluator, TripletEvaluator
    from torch import nn

    class Nearness(nn.Module):
        def __init__(self, model, scale: float = 20.0):
            super().__init__()
            self.model, self.scale = model, scale

        def forward(self, sentence_features, labels):
            anchors, positives = (self.model(features)["sentence_embedding"] for features in sentence_features)
            scores = self.scale * torch.nn.functional.normalize(anchors) @ torch.nn.functional.normalize(positives).T
            return nn.functional.cross_entropy(scores, torch.arange(len(scores)))

    class Halved(nn.Module):
        def __init__(self, model, loss):
            super().__init__()
            self.loss = loss

        def forward(self, sentence_features, labels):
            return self.loss(sentence_features, labels) / 2

    class MeanCosine(SentenceEvaluator):
        def __init__(self, anchors, positives, negatives=None, offset: float = 0.0):
            super().__init__()
            self.anchors, self.positives, self.offset = anchors, positives, offset
            assert negatives is None

        def __call__(self, model, output_path=None, epoch=-1, steps=-1):
            one, other = model.encode(self.anchors), model.encode(self.positives)
            return float(model.similarity_pairwise(one, other).mean()) + self.offset

    class Named(SentenceEvaluator):
        def __init__(self, queries, corpus, relevant_docs, name=""):
            super().__init__()
            self.counts = {"queries": len(queries), "corpus": len(corpus), "relevant": len(relevant_docs)}
            self.primary_metric = "corpus"

        def __call__(self, model, output_path=None, epoch=-1, steps=-1):
            return self.counts
"""


def test_they_train_and_evaluate(tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(dedent(PARTS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    config = job(tmp_path, max_steps=2, eval_strategy="steps", eval_steps=2)
    config["loss"] = [{"type": "own_parts.Nearness", "args": {"scale": 10}}, {"type": "own_parts.Halved"}]
    config["evaluators"] = {
        "near": {"type": "own_parts.MeanCosine", "dataset": "eval", "args": {"offset": 100}},
        "counted": {"type": "own_parts.Named", "dataset": "eval"},
    }
    run_training(load_checked_config(write_job(config, tmp_path / "job.yaml")))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    (found,) = [line for line in lines if "eval_near_score" in line and line["step"] == 2]
    assert 99 <= found["eval_near_score"] <= 101
    assert (found["eval_counted_queries"], found["eval_counted_relevant"]) == (24, 24)

    outcome = run_evaluation(find_config(str(tmp_path / "run"), None, []))
    near = outcome.evaluations["near"].result
    assert near.primary_metric == "score"
    assert near.full.metrics == {"score": pytest.approx(found["eval_near_score"])}
    assert outcome.evaluations["counted"].result.primary_metric == "corpus"


@pytest.mark.parametrize("command", ["train", "check"])
def test_a_wrong_path_is_told_before_anything_is_written(command, tmp_path):
    config = job(tmp_path, max_steps=1)
    config["loss"] = [{"type": "own_partz.Nearness"}]
    path = write_job(config, tmp_path / "job.yaml")
    before = {entry.name for entry in tmp_path.iterdir()}
    arguments = [sys.executable, "-m", "mmst_cli", command, str(path)]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "loss.0.type: there is no module own_partz, neither in" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == before
