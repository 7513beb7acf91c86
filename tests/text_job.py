"""A training job of a second or two: pairs of generated texts and the tiny text model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from small_job import write_job

from mmst_cli.config.load import load_config
from mmst_cli.training.train import run_training

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven", "inlet", "jetty", "knoll", "ledge"]
PAIRS = {"query": {"role": "anchor"}, "doc": {"role": "positive"}}
LABELLED = {**PAIRS, "score": {"role": "label"}}


def text_rows(count: int = 48, **more: Sequence[Any]) -> list[dict[str, Any]]:
    """Return rows of a query, a doc and a score; ``more`` are further columns, or others in their place."""
    rows = [
        {"query": f"where is {WORDS[i % 12]} {i}", "doc": f"{WORDS[i % 12]} lies by {i}", "score": i / count}
        for i in range(count)
    ]
    return [{**row, **{name: values[i] for name, values in more.items()}} for i, row in enumerate(rows)]


def text_job(
    folder: Path,
    rows: list[dict[str, Any]] | None = None,
    loss: str = "MultipleNegativesRankingLoss",
    columns: Mapping[str, Any] = PAIRS,
    **training: Any,
) -> dict[str, Any]:
    """Return a config with its rows written under ``folder``."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows or text_rows()), folder / "rows.parquet")
    return {
        "output_dir": str(folder / "run"),
        "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
        "datasets": {"train": {"use": "train", "path": str(folder / "rows.parquet"), "columns": dict(columns)}},
        "loss": [{"type": loss}],
        "training": {
            "max_steps": 6,
            "per_device_train_batch_size": 8,
            "use_cpu": True,
            "save_strategy": "no",
            "logging_steps": 1,
            **training,
        },
    }


def run(config: dict[str, Any], folder: Path, terminal: Any, **options: Any) -> Any:
    """Train."""
    return run_training(load_config(write_job(config, folder / "job.yaml")), terminal=terminal, **options)


def evaluated(config: dict[str, Any], **evaluator: Any) -> dict[str, Any]:
    """Return the config with an evaluation of its own rows."""
    rows = config["datasets"]["train"]
    config["datasets"]["eval"] = {**rows, "use": "eval", "columns": dict(PAIRS)}
    config["evaluators"] = {"texts": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "eval", **evaluator}}
    return config
