"""Models of several encoders. By side, anchors go to the queries' route and positives to the documents'."""

import json

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from sentence_transformers import SentenceTransformer
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.training.train import run_training

ROWS = [{"q": f"query {i}", "p": f"page number {i}"} for i in range(16)]
ARGUMENTS = {
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "logging_steps": 1,
    "report_to": "none",
}


def test_sides_are_routed_by_role_as_by_a_router_mapping(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    config = {
        "output_dir": str(tmp_path / "run"),
        "model": {
            "routes": {side: {"name_or_path": "builtin:tiny-text"} for side in ("query", "document")},
            "dimension": 32,
        },
        "datasets": {
            "train": {
                "use": "train",
                "path": str(tmp_path / "rows.jsonl"),
                "columns": {"q": {"role": "anchor"}, "p": {"role": "positive"}},
            }
        },
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "training": {**ARGUMENTS, "save_strategy": "no"},
    }
    loaded = load_config(write_job(config, tmp_path / "job.yaml"))
    run_training(loaded)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if "loss" in line] == plain_losses(loaded, tmp_path / "plain")
    assert "tiny-text" in (tmp_path / "run/model/README.md").read_text()


def plain_losses(config, folder):
    import torch
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from mmst_cli.model.load_model import load_model
    from mmst_cli.model.precision import Precision

    model, _ = load_model(config.model, torch.device("cpu"), Precision(), seed=42)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder), router_mapping={"q": "query", "p": "document"}, save_strategy="no", **ARGUMENTS
        ),
        train_dataset=Dataset.from_list(ROWS),
        loss=MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_an_encoder_a_modality_trains_and_reloads_as_it_was_measured(tmp_path, capsys):
    config = job(tmp_path, max_steps=3)
    config["model"] = {
        "routes": {"text": {"name_or_path": "builtin:tiny-text"}, "image": {"name_or_path": "builtin:tiny-clip"}},
        "dimension": 128,
        "frozen": [r"sub_modules\.text\.0\.model\.embeddings"],
    }
    result = run_training(load_config(write_job(config, tmp_path / "job.yaml")))
    model = SentenceTransformer(str(tmp_path / "run/model"), device="cpu")
    rows = load_dataset("parquet", data_files=str(tmp_path / "eval.parquet"), split="train")
    queries = model.encode_query(rows["query"])
    pages = model.encode_document([image.convert("RGB") for image in rows["image"]])
    ranks = (queries @ pages.T > np.diag(queries @ pages.T)[:, None]).sum(1)
    measured = result.after["pages"].result.full.metrics
    assert np.mean(ranks == 0) == measured["accuracy@1"]
    assert np.mean(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0)) == pytest.approx(measured["ndcg@10"])
    assert "frozen" in capsys.readouterr().err
