"""Two processes that train one run, beside one process with the same whole batch."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "ledge"]
COLUMNS = {"query": {"role": "anchor"}, "doc": {"role": "positive"}, "other": {"role": "negative"}}
COUNTING = """
import os, sys, torch
from sentence_transformers import SentenceTransformer
process = SentenceTransformer.preprocess
def counted(self, inputs, **options):
    if not self.training:
        with open(os.path.join(os.environ["COUNTS"], os.environ.get("RANK", "0")), "a") as file:
            file.write("".join(f"{value}\\n" for value in inputs))
    return process(self, inputs, **options)
SentenceTransformer.preprocess = counted
from mmst_cli.cli import main
main()
"""
FAILING = """
import os
from mmst_cli.errors import DataError
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

class FailingLoss(MultipleNegativesRankingLoss):
    steps = 0
    def forward(self, *inputs):
        self.steps += 1
        if self.steps == 3 and os.environ["RANK"] == "1":
            raise DataError("datasets.train: row 5: planted")
        return super().forward(*inputs)
"""


def write_rows(path, count, first):
    def line(i):
        a, b, c = WORDS[i % 12], WORDS[(i * 5 + i // 12) % 12], WORDS[(i * 7 + 3) % 12]
        document = f"the {a} lies by the {b} {i}" + " far away" * (i % 5)
        return {"query": f"where is the {a} {b} {i}", "doc": document, "other": f"the {a} lies by the {c} {i}"}

    path.write_text("".join(json.dumps(line(i)) + "\n" for i in range(first, first + count)))


@pytest.fixture
def job(tmp_path):
    """A config of texts with hard negatives, 9 and a half batches of 16 an epoch; negatives are gathered."""
    sets = {"train": ("train", 150, 0), "eval": ("eval", 37, 200), "held": ("eval", 20, 300)}
    for name, (_, count, first) in sets.items():
        write_rows(tmp_path / f"{name}.jsonl", count, first)
    return {
        "output_dir": "run",
        "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
        "datasets": {
            name: {"use": use, "path": f"{name}.jsonl", "columns": COLUMNS} for name, (use, *_) in sets.items()
        },
        "loss": [
            {
                "type": "CachedMultipleNegativesRankingLoss",
                "args": {"mini_batch_size": 4, "gather_across_devices": True},
            },
            {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}},
        ],
        "evaluators": {
            "found": {
                "type": "MatryoshkaRetrievalEvaluator",
                "dataset": "eval",
                "dims": [128, 32],
                "precisions": ["float32", "binary"],
            },
            "triples": {"type": "TripletEvaluator", "dataset": "eval"},
        },
        "training": {
            "max_steps": 20,
            "per_device_train_batch_size": 16,
            "per_device_eval_batch_size": 16,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "batch_sampler": "no_duplicates",
            "save_strategy": "steps",
            "save_steps": 10,
            "eval_strategy": "steps",
            "eval_steps": 10,
            "logging_steps": 1,
        },
    }


def start(folder, config, *command, **environment):
    (folder / "job.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    here = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, **here, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    return done


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def series(run, key):
    return np.array([line[key] for line in logged(run) if key in line])


def figures(path):
    return [(cell["dim"], cell["precision"], cell["metrics"]) for cell in json.loads(path.read_text())["cells"]]


def check_losses(one, two):
    """Losses to 1e-5, gradients to 1e-5 of their length, evaluations exactly."""
    assert [line["step"] for line in logged(one)] == [line["step"] for line in logged(two)]
    assert np.abs(series(one, "loss") - series(two, "loss")).max() < 1e-5
    assert np.abs(series(one, "eval_loss") - series(two, "eval_loss")).max() < 1e-5
    assert np.abs(series(one, "grad_norm") / series(two, "grad_norm") - 1).max() < 1e-5
    per_dim = [[list(line["loss_per_dim"].values()) for line in logged(run) if "loss" in line] for run in (one, two)]
    assert np.abs(np.array(per_dim[0]) - np.array(per_dim[1])).max() < 1e-5
    for name in ("found", "found.before", "triples", "triples.before"):
        assert figures(one / f"eval/{name}.json") == figures(two / f"eval/{name}.json")


def check_inputs(counts, whole):
    """Every input was encoded as often as in one process, by one or the other, but for what each tries its model on."""
    shares = [(counts / rank).read_text().splitlines() for rank in ("0", "1")]
    alone = (whole / "0").read_text().splitlines()
    more, fewer = Counter(shares[0] + shares[1]), Counter(alone)
    assert not fewer - more and (more - fewer).total() < 5
    assert len(shares[1]) > len(alone) / 3 > 100


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_whole_batch(tmp_path, job):
    (tmp_path / "counting.py").write_text(COUNTING)
    for name in ("counts-1", "counts-2"):
        (tmp_path / name).mkdir()
    train = ("counting.py", "train", "job.yaml")
    alone = start(tmp_path, {**job, "output_dir": "one"}, *train, COUNTS="counts-1")
    assert alone.returncode == 0, alone.stderr
    job["training"] |= {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    both = start(tmp_path, {**job, "output_dir": "two"}, *launcher, *train, COUNTS="counts-2")
    assert both.returncode == 0, both.stderr
    one, two = tmp_path / "one", tmp_path / "two"
    check_losses(one, two)
    check_inputs(tmp_path / "counts-2", tmp_path / "counts-1")
    assert both.stderr.count("step 20/20  loss") == 1 and both.stdout.count("report: two/report.html") == 1
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    for checkpoint in ("checkpoint-10", "checkpoint-20"):
        whole = json.loads((two / checkpoint / "complete.json").read_text())
        assert {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt", "model.safetensors"} <= whole.keys()
    check_model(one, two)


def check_model(one, two):
    """What was saved loads in plain sentence-transformers and gives one process's vectors."""
    from sentence_transformers import SentenceTransformer

    weights = [load_file(run / "model/model.safetensors") for run in (one, two)]
    assert max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in weights[0]) < 1e-4
    text = ["where is the amber birch 7", "the fjord lies by the grove"]
    vectors = [SentenceTransformer(str(run / "model"), device="cpu").encode(text) for run in (one, two)]
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


@pytest.mark.slow
def test_an_error_in_one_of_two_processes_ends_both_with_its_sentence(tmp_path, job):
    (tmp_path / "own_losses.py").write_text(FAILING)
    job |= {"loss": [{"type": "own_losses.FailingLoss"}], "evaluators": {}}
    job["datasets"] = {"train": job["datasets"]["train"]}
    job["training"] |= {"eval_strategy": "no", "max_steps": 500}
    done = start(tmp_path, job, "-m", "mmst_cli", "train", "job.yaml", "--num-processes", "2")
    ended = time.time()
    assert done.returncode == 1, done.stderr
    assert [line for line in done.stderr.splitlines() if "rror" in line] == ["error: datasets.train: row 5: planted"]
    assert "Traceback" not in done.stderr
    assert ended - Path(tmp_path / "run/metrics.jsonl").stat().st_mtime < 30
    assert not (tmp_path / "run/model").exists()
