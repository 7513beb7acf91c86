"""Two processes that train one run, beside one with the same whole batch; and a run that is stopped and resumed."""

import json
import signal
from collections import Counter

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from small_job import write_pages

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "ledge"]
TRIPLETS = {"query": {"role": "anchor"}, "doc": {"role": "positive"}, "other": {"role": "negative"}}
PAGES = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
CACHED = {
    "type": "CachedMultipleNegativesRankingLoss",
    "args": {"mini_batch_size": 4, "gather_across_devices": True},
}
PLANTED = """
import os
import huggingface_hub
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

def take_down(name, lines):
    with open(f"{name}-{os.environ.get('RANK', '0')}", "a") as file:
        file.write("".join(f"{line}\\n" for line in lines))

process = SentenceTransformer.preprocess
def counted(self, inputs, **options):
    if not self.training:
        take_down("encoded", inputs)
    return process(self, inputs, **options)
SentenceTransformer.preprocess = counted

class Hub:
    def __init__(self, token=None):
        self.create_repo = self.model_info = lambda *_, **__: self
        self.whoami = lambda: {"name": "someone"}
        self.repo_id, self.private = "someone/model", True
    def upload_folder(self, *, repo_id, folder_path, **_):
        take_down("pushed", sorted(os.listdir(folder_path)))
huggingface_hub.HfApi = Hub

class CountingLoss(MultipleNegativesRankingLoss):
    pass
"""


def write_rows(path, count, first):
    def line(i):
        a, b, c = WORDS[i % 12], WORDS[(i * 5 + i // 12) % 12], WORDS[(i * 7 + 3) % 12]
        document = f"the {a} lies by the {b} {i}" + " far away" * (i % 5)
        other = f"the {a} lies under the {c} {i}"  # never the document, which would be as near but for rounding
        return {"query": f"where is the {a} {b} {i}", "doc": document, "other": other}

    path.write_text("".join(json.dumps(line(i)) + "\n" for i in range(first, first + count)))


@pytest.fixture
def job(tmp_path):
    """A config of texts with hard negatives, 4 and a half batches of 16 an epoch."""
    sets = {"train": ("train", 70, 0), "eval": ("eval", 37, 200), "held": ("eval", 20, 300)}
    for name, (_, count, first) in sets.items():
        write_rows(tmp_path / f"{name}.jsonl", count, first)
    found = {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval", "dims": [128, 32]}
    return {
        "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
        "datasets": {
            name: {"use": use, "path": f"{name}.jsonl", "columns": dict(TRIPLETS)} for name, (use, *_) in sets.items()
        },
        "loss": [CACHED, {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}}],
        "evaluators": {
            "found": {**found, "precisions": ["float32", "binary"]},
            "triples": {"type": "TripletEvaluator", "dataset": "eval"},
        },
        "training": {
            "max_steps": 20,
            "per_device_train_batch_size": 8,
            "per_device_eval_batch_size": 8,
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


@pytest.fixture
def train(pair, tmp_path):
    """A function that trains in two processes, or in one with the same whole batches; gives the run folder."""

    def train(job, name, *arguments, count=2, code=0, **options):
        job = json.loads(json.dumps(job)) | {"output_dir": name}
        for size in ("per_device_train_batch_size", "per_device_eval_batch_size"):
            job["training"][size] *= 2 // count
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
        ended = pair.run(tmp_path, "train", f"{name}.yaml", *arguments, count=count, **options)
        assert ended.codes == [code] * count, ended.err
        assert not any(ended.err[1:]) and not any(ended.out[1:])  # the first speaks
        return tmp_path / name, ended

    return train


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def series(run, key):
    return np.array([line[key] for line in logged(run) if key in line])


def per_dim(run):
    return np.array([sum(line["loss_per_dim"].values()) for line in logged(run) if "loss" in line])


def weights(folder):
    return load_file(folder / "model.safetensors")


def measures(line):
    """All that evaluators measured, without the loss of an evaluation, and what tells of the time."""
    other = ("_loss", "_runtime", "_per_second")
    return {key: value for key, value in line.items() if key.startswith("eval_") and not key.endswith(other)}


def check_losses(one, two):
    """Losses to 1e-5 of themselves, gradients to 2e-5 of their length, evaluations exactly."""
    assert [line["step"] for line in logged(one)] == [line["step"] for line in logged(two)]
    assert np.abs(series(one, "loss") / series(two, "loss") - 1).max() < 1e-5
    assert np.abs(series(one, "eval_loss") / series(two, "eval_loss") - 1).max(initial=0) < 1e-5
    assert np.abs(series(one, "grad_norm") / series(two, "grad_norm") - 1).max() < 2e-5
    assert np.abs(per_dim(one) / per_dim(two) - 1).max(initial=0) < 1e-5
    scores = [[measures(line) for line in logged(run)] for run in (one, two)]
    assert scores[0] == scores[1] and any(scores[0])
    for path in (one / "eval").glob("*.json"):
        cells = [json.loads(p.read_text())["cells"] for p in (path, two / "eval" / path.name)]
        assert [c["metrics"] for c in cells[0]] == [c["metrics"] for c in cells[1]]


def check_inputs(alone, shares):
    """No input was encoded more often than in one process, but for what each tries its model on."""
    assert (Counter(shares[0] + shares[1]) - Counter(alone)).total() < 5
    assert len(shares[1]) > len(alone) / 3 > 100


def check_model(one, two):
    """What was saved loads in plain sentence-transformers and gives one process's vectors."""
    from sentence_transformers import SentenceTransformer

    ours, theirs = weights(one / "model"), weights(two / "model")
    assert max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < 1e-4
    text = ["where is the amber birch 7", "the fjord lies by the grove"]
    vectors = [SentenceTransformer(str(run / "model"), device="cpu").encode(text) for run in (one, two)]
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-4


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_whole_batch(train, tmp_path, job):
    (tmp_path / "planted.py").write_text(PLANTED)
    job["loss"][0] = {**CACHED, "type": "planted.CountingLoss", "args": {"gather_across_devices": True}}
    one, _ = train(job, "one", count=1)
    encoded = [(tmp_path / "encoded-0").read_text().splitlines()]
    (tmp_path / "encoded-0").unlink()
    two, ended = train({**job, "training": {**job["training"], "push_to_hub": True}}, "two")
    encoded += [(tmp_path / f"encoded-{rank}").read_text().splitlines() for rank in (0, 1)]
    check_losses(one, two)
    check_inputs(encoded[0], encoded[1:])
    assert ended.err[0].count("step 20/20  loss") == 1 and ended.out[0].count("report: two/report.html") == 1
    log = (two / "log.txt").read_text()
    assert log.count("step 20/20  loss") == log.count("evaluation before training") == 1
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    for checkpoint in ("checkpoint-10", "checkpoint-20"):
        whole = json.loads((two / checkpoint / "complete.json").read_text())
        assert {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt", "model.safetensors"} <= whole.keys()
    check_model(one, two)
    assert "README.md" in (tmp_path / "pushed-0").read_text() and not (tmp_path / "pushed-1").exists()


@pytest.mark.slow
@pytest.mark.parametrize("mixing", ["proportional", "round_robin"])
def test_several_sets_of_pages_and_texts(train, tmp_path, job, mixing):
    """Of every step all processes have the same set, also where it leaves the eyes of the model without a gradient."""
    for name, rows in (("train", 48), ("eval", 24)):
        write_pages(tmp_path / f"{name}.parquet", name, rows)
    job["model"]["name_or_path"] = "builtin:tiny-qwen3-vl"
    pages = {"use": "train", "path": "train.parquet", "columns": dict(PAGES)}
    job["datasets"] = {
        "words": job["datasets"]["train"],
        "pages": pages,
        "few": {**pages, "max_rows": 24},
        "eval": {**pages, "use": "eval", "path": "eval.parquet"},
    }
    job["evaluators"] = {"found": {**job["evaluators"]["found"], "precisions": ["float32"]}}
    job["training"] |= {"max_steps": 6, "eval_steps": 3, "save_strategy": "no", "multi_dataset_batch_sampler": mixing}
    job["training"] |= {"gradient_checkpointing": mixing == "round_robin"}
    job["loss"][0] = {**CACHED, "args": {"mini_batch_num_tokens": 90, "gather_across_devices": True}}
    one, _ = train(job, "one", count=1)
    job["training"] |= {"dataloader_num_workers": int(mixing == "proportional")}  # and the batches are the same
    two, _ = train(job, "two")
    check_losses(one, two)


@pytest.mark.slow
def test_a_stopped_run_ends_as_one_left_alone(train, job):
    """In its second epoch, with data workers, with the best model at the end and one more checkpoint kept."""
    job["loss"][0] = {"type": "MultipleNegativesRankingLoss"}
    job["training"] |= {"max_steps": 12, "eval_steps": 4, "save_steps": 4, "save_total_limit": 2}
    job["training"] |= {"load_best_model_at_end": True, "metric_for_best_model": "found_cosine_ndcg@10"}
    job["training"] |= {"greater_is_better": False, "dataloader_num_workers": 1}
    whole, _ = train(job, "whole")
    stopped, ended = train(job, "stopped", send=("step 6/", signal.SIGTERM), code=128 + signal.SIGTERM)
    assert "goes on from step" in ended.err[0] and not (stopped / "model").exists()
    assert {path.name for path in stopped.glob("checkpoint-*")} >= {"checkpoint-7"}
    train(job, "stopped", "--resume")
    names = {path.name for path in whole.glob("checkpoint-*")}
    assert names == {path.name for path in stopped.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-12"}
    for name in ("model", "checkpoint-12"):
        ours, theirs = weights(whole / name), weights(stopped / name)
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    best = weights(whole / "checkpoint-4")
    assert all(np.array_equal(value, weights(whole / "model")[key]) for key, value in best.items())
    for key in ("loss", "grad_norm"):
        assert np.array_equal(series(whole, key), series(stopped, key))


@pytest.mark.slow
def test_negatives_are_mined_once(train, tmp_path, job):
    (tmp_path / "planted.py").write_text(PLANTED)
    job["loss"] = [{"type": "planted.CountingLoss"}]
    job["evaluators"] = {}
    job["datasets"] = {"train": job["datasets"]["train"] | {"mine": {"num_negatives": 1}}}
    del job["datasets"]["train"]["columns"]["other"]
    job["training"] |= {"eval_strategy": "no", "save_strategy": "no", "max_steps": 2}
    _, ended = train(job, "run")
    assert ended.err[0].count("negatives: train: mined: 1 for each of") == 1
    other = tmp_path / "encoded-1"  # not there where nothing was encoded
    assert len((tmp_path / "encoded-0").read_text().splitlines()) >= 140
    assert not other.exists() or len(other.read_text().splitlines()) < 10
    _, ended = train(job, "dry", "--dry-run")
    assert ended.out[0].count("Dry run: everything fits together") == 1 and "negatives: train: from" in ended.err[0]
    assert not (tmp_path / "dry").exists()


@pytest.mark.slow
def test_negatives_are_renewed_for_all(train, tmp_path, job):
    """The first mines, all encode a share; one that is stopped in the third epoch ends as one left alone."""
    (tmp_path / "planted.py").write_text(PLANTED)
    job["loss"] = [{"type": "planted.CountingLoss", "args": {"gather_across_devices": True}}]
    job["evaluators"] = {}
    job["datasets"] = {"train": job["datasets"]["train"] | {"mine": {"num_negatives": 1, "every_epochs": 1}}}
    del job["datasets"]["train"]["columns"]["other"]
    job["training"] |= {"eval_strategy": "no", "save_steps": 4, "max_steps": 15}
    one, _ = train(job, "one", count=1)
    encoded = [(tmp_path / "encoded-0").read_text().splitlines()]
    (tmp_path / "encoded-0").unlink()
    two, ended = train(job, "two")
    shares = [(tmp_path / f"encoded-{rank}").read_text().splitlines() for rank in (0, 1)]
    assert len(shares[1]) > 100 and sum(map(len, shares)) < len(encoded[0]) + 20
    names = sorted(path.name for path in (two / "negatives").iterdir())
    assert len(names) >= 2 and names == sorted(path.name for path in (one / "negatives").iterdir())
    assert ended.err[0].count("renewed for epoch 2 in") == 1
    stopped, _ = train(job, "stopped", send=("step 11/", signal.SIGTERM), code=128 + signal.SIGTERM)
    train(job, "stopped", "--resume")
    assert np.array_equal(series(two, "loss"), series(stopped, "loss"))
    ours, theirs = weights(two / "model"), weights(stopped / "model")
    assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    for name in names:
        assert (stopped / "negatives" / name).read_bytes() == (two / "negatives" / name).read_bytes()


@pytest.mark.slow
def test_towers_of_which_each_takes_one_column(train, tmp_path, job):
    """As CLIP's, with a loss that isn't cached: each call uses other weights, and some use none of a process."""
    write_pages(tmp_path / "pages.parquet", "train", 40)
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    job["model"]["name_or_path"] = "builtin:tiny-clip"
    job["datasets"] = {"train": {"use": "train", "path": "pages.parquet", "columns": columns}}
    job["loss"] = [{"type": "MultipleNegativesRankingLoss", "args": {"gather_across_devices": True}}]
    job["evaluators"] = {}
    job["training"] |= {"max_steps": 6, "gradient_accumulation_steps": 2, "eval_strategy": "no", "save_strategy": "no"}
    one, _ = train(job, "one", count=1)
    two, _ = train(job, "two")
    assert np.abs(series(one, "loss") / series(two, "loss") - 1).max() < 1e-5
    assert np.abs(series(one, "grad_norm") / series(two, "grad_norm") - 1).max() < 2e-5
    ours, theirs = weights(one / "model"), weights(two / "model")
    assert (
        max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < 5e-4
    )  # AdamW's first steps go by the sign of a gradient


@pytest.mark.slow
def test_weights_of_a_loss_and_masks_are_those_of_one_process(train, tmp_path, job):
    """The weights of a loss learn from the whole batch; a mask looks at the documents of all processes."""
    path = tmp_path / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "kind": i % 3}) + "\n" for i, row in enumerate(rows)))
    pair = {"query": {"role": "anchor"}, "doc": {"role": "positive"}}
    softmax = {"type": "SoftmaxLoss", "args": {"embedding_dimension": 128, "num_labels": 3}}
    masked = {**CACHED, "args": {**CACHED["args"], "mask_false_negatives": 0.0}}
    words = {"use": "train", "path": "train.jsonl"}
    job["datasets"] = {
        "kinds": {**words, "columns": {**pair, "kind": {"role": "label"}}, "loss": [softmax]},
        "words": {**words, "columns": dict(TRIPLETS), "loss": [masked, job["loss"][1]]},
    }
    job["loss"], job["evaluators"] = [], {}
    job["training"] |= {"max_steps": 4, "eval_strategy": "no", "save_steps": 4, "gradient_accumulation_steps": 2}
    job["training"] |= {"multi_dataset_batch_sampler": "round_robin"}
    one, _ = train(job, "one", count=1)
    two, _ = train(job, "two")
    assert np.abs(series(one, "loss") / series(two, "loss") - 1).max() < 1e-5
    assert np.abs(series(one, "masked_negatives") - series(two, "masked_negatives")).max() < 1e-3
    assert 0 < series(one, "masked_negatives").max() < 1
    ours, theirs = (load_file(run / "checkpoint-4" / "loss.safetensors") for run in (one, two))
    assert len(ours) == 2 and max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours) < 1e-5
