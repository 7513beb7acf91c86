"""A model of one encoder a side: anchors go to the queries' route and positives to the documents' by their roles."""

import json

from datasets import Dataset
from small_job import write_job

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

    from mmst_cli.model.load import load_model
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
