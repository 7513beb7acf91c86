"""A training job of seconds: pages in a parquet file, the tiny model, a handful of steps."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature

from mmst_cli.builtin.pages import generate_rows

DIMS = [128, 32, 8]


def write_pages(path: Path, name: str, rows: int) -> Path:
    """Write generated pages as a parquet file with the columns query and image."""
    features = Features({"query": Value("string"), "image": ImageFeature()})
    Dataset.from_list(list(generate_rows(name, rows)), features=features).to_parquet(str(path))
    return path


def job(folder: Path, **training: object) -> dict:
    """Return a config with its data written under ``folder``: 96 training rows, 24 evaluation rows."""
    columns = {
        "query": {"role": "anchor", "modality": "text"},
        "image": {"role": "positive", "modality": "image"},
    }
    sets = {"train": ("train", 96), "eval": ("eval", 24)}
    for name, rows in sets.values():
        if not (folder / f"{name}.parquet").exists():
            write_pages(folder / f"{name}.parquet", name, rows)
    return {
        "run_name": "small",
        "output_dir": str(folder / "run"),
        "matryoshka_dims": list(DIMS),
        "model": {"name_or_path": "builtin:tiny-qwen3-vl", "dtype": "float32"},
        "datasets": {
            key: {"use": key, "path": str(folder / f"{name}.parquet"), "columns": copy.deepcopy(columns)}
            for key, (name, _) in sets.items()
        },
        "loss": [
            {"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 8}},
            {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": list(DIMS)}},
        ],
        "evaluators": {"pages": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval", "dims": list(DIMS)}},
        "training": {
            "max_steps": 4,
            "per_device_train_batch_size": 16,
            "learning_rate": 1e-3,
            "batch_sampler": "no_duplicates",
            "use_cpu": True,
            "logging_steps": 1,
            "save_strategy": "no",
            **training,
        },
    }


def write_job(config: dict, path: Path) -> Path:
    """Write a config as YAML."""
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
