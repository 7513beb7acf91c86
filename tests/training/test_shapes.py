"""Shapes of data on their way through training: lists of negatives and positives, streams, texts with labels."""

import json

import pytest
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.errors import ConfigError
from mmst_cli.training.train import run_training

WORDS = ("red", "blue", "green", "pink")


def shaped_job(folder, rows, columns, loss, **training):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "output_dir": str(folder / "run"),
        "model": {"name_or_path": "builtin:tiny-text"},
        "datasets": {"train": {"use": "train", "path": str(folder / "rows.jsonl"), "columns": columns}},
        "loss": [{"type": loss}],
        "training": {
            "max_steps": 2,
            "per_device_train_batch_size": 4,
            "use_cpu": True,
            "logging_steps": 1,
            "save_strategy": "no",
            **training,
        },
    }


def train(config, folder, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), **options)


def losses(folder):
    lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def triplets(spread):
    rows = [
        {"q": f"{a} header", "p": f"header in {a}", "n": [f"{b} stamp", f"{b} chart"]} for a in WORDS for b in WORDS
    ]
    return [{"q": r["q"], "p": r["p"], "n0": r["n"][0], "n1": r["n"][1]} for r in rows] if spread else rows


ROLES = {"q": {"role": "anchor"}, "p": {"role": "positive"}}


def test_a_list_of_negatives_trains_as_a_column_for_each(tmp_path):
    for name in ("list", "spread"):
        (tmp_path / name).mkdir()
    as_list = shaped_job(
        tmp_path / "list", triplets(False), {**ROLES, "n": {"role": "negative"}}, "MultipleNegativesRankingLoss"
    )
    train(as_list, tmp_path / "list")
    columns = {**ROLES, "n0": {"role": "negative"}, "n1": {"role": "negative"}}
    train(shaped_job(tmp_path / "spread", triplets(True), columns, "MultipleNegativesRankingLoss"), tmp_path / "spread")
    assert losses(tmp_path / "list") == losses(tmp_path / "spread")


def test_a_loss_that_cannot_use_so_many_negatives_names_those_that_could(tmp_path):
    config = shaped_job(tmp_path, triplets(False), {**ROLES, "n": {"role": "negative"}}, "TripletLoss")
    with pytest.raises(ConfigError) as caught:
        train(config, tmp_path)
    assert str(caught.value) == (
        "datasets.train.columns: found 4 input columns (anchor, positive, negative, negative) and no label, but"
        " TripletLoss takes 3 input columns and no label. With these columns: MultipleNegativesRankingLoss,"
        " CachedMultipleNegativesRankingLoss, AnglELoss."
    )
    assert not (tmp_path / "run").exists()
    config["datasets"]["train"]["columns"]["n"]["take"] = 1
    assert train(config, tmp_path).steps == 2


def test_a_list_of_positives_is_a_row_each(tmp_path):
    rows = [{"q": f"{word} header", "p": [f"header in {word}", f"{word} is the header"]} for word in WORDS]
    config = shaped_job(tmp_path, rows, ROLES, "MultipleNegativesRankingLoss", num_train_epochs=1, max_steps=-1)
    config["training"]["batch_sampler"] = "no_duplicates"
    assert train(config, tmp_path).steps == 2


def test_texts_with_labels_train_in_batches_by_label(tmp_path):
    rows = [{"text": f"{word} page {i}", "kind": i % 2} for i in range(4) for word in WORDS]
    columns = {"text": {"role": "anchor"}, "kind": {"role": "label"}}
    config = shaped_job(tmp_path, rows, columns, "BatchAllTripletLoss", batch_sampler="group_by_label")
    assert train(config, tmp_path).steps == 2


def test_a_stream_of_pages_is_trained_on(tmp_path):
    """Four batches of 32 are more than the 96 rows there are: it begins again."""
    config = job(tmp_path, max_steps=4, per_device_train_batch_size=32, batch_sampler="batch_sampler")
    config["evaluators"] = {}
    del config["datasets"]["eval"]
    config["datasets"]["train"]["streaming"] = True
    dry = train(config, tmp_path, dry_run=True)
    assert "one batch of 32 gives a loss of" in dry.verdict
    assert train(config, tmp_path).steps == 4
    assert all(loss > 0 for loss in losses(tmp_path))
    assert "a stream of rows" in (tmp_path / "run/model/README.md").read_text()
