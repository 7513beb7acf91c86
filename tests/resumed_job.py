"""A training job of two seconds: rows of text, the smallest model, a checkpoint every three steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Config
from mmst_cli.training.train import run_training
from mmst_cli.training.training_summary import TrainingResult


def text_job(folder: Path, **training: object) -> dict[str, Any]:
    """Return a job of 48 rows of text, with a checkpoint every three steps."""
    rows = [{"query": f"where is stone {i}", "doc": f"by hill {i * 7 % 48}", "kind": i % 3} for i in range(48)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "output_dir": str(folder / "run"),
        "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
        "datasets": {
            "pairs": {
                "use": "train",
                "path": str(folder / "rows.jsonl"),
                "columns": {"query": {"role": "anchor"}, "doc": {"role": "positive"}},
            }
        },
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "training": {
            "max_steps": 6,
            "per_device_train_batch_size": 8,
            "learning_rate": 1e-3,
            "use_cpu": True,
            "logging_steps": 1,
            "save_strategy": "steps",
            "save_steps": 3,
            **training,
        },
    }


def train(config: dict[str, Any], folder: Path, **options: Any) -> TrainingResult:
    """Train as a config says that is written as ``job.yaml`` first."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return run_training(load_config(path), **options)


def as_config(config: dict[str, Any], path: Path) -> Config:
    """Write a config and load it."""
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return load_config(path)
