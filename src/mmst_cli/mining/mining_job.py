"""What `mmst mine` was asked for, and what decides its output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import Config, DatasetConfig, MineConfig, ModelConfig
from mmst_cli.model.checkpoint import read_checkpoint_config
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_identity import model_identity


@dataclass(frozen=True)
class MiningOptions:
    """What `mmst mine` is asked for.

    Attributes:
        dataset: the set of the config to mine in.
        mine: the settings; ``mine.model`` None for the model of the config.
        output: the parquet file to write.
        seed: of the random sampling.
        embed_media: write media into the cells instead of naming files.
        resume: go on with what a killed command left.
        overwrite: replace an output that is there, and begin anew.
        rows_per_part: how many rows a killed command may lose.
    """

    dataset: str
    mine: MineConfig
    output: Path
    seed: int = 42
    embed_media: bool = False
    resume: bool = False
    overwrite: bool = False
    rows_per_part: int = 2_000


def describe_job(
    config: Config, section: DatasetConfig, options: MiningOptions, rows: str, models: dict[str, Any]
) -> dict[str, Any]:
    """Return all that decides the output, by name.

    Args:
        config: how media are read, and under which precision and prompts.
        section: the dataset.
        options: what is asked for.
        rows: what names the rows by content.
        models: what names the model, and the second one, by content.
    """
    settings = options.mine.model_dump(exclude={"model", "second_model", "every_epochs"})
    job = {
        "rows": rows,
        **models,
        "settings": settings,
        "seed": options.seed,
        "embed_media": options.embed_media,
        "rows_per_part": options.rows_per_part,
        "media": config.media.record(),
        "prompts": {**config.prompts, **section.prompts},
        "columns": {name: column.model_dump() for name, column in section.columns.items()},
        "precision": {name: config.training.get(name) for name in ("bf16", "fp16")},
    }
    return dict(json.loads(json.dumps(job, default=str)))


def mining_model(config: Config, mine: MineConfig) -> ModelConfig:
    """Return the model that mines: the one of the config, or another that is loaded as that one is.

    The processor's arguments go along with a model of the same architecture, such as an earlier run's.
    """
    if mine.model is None:
        return config.model
    own = config.model
    processor = own.processor if _architecture(own.name_or_path) == _architecture(mine.model) else {}
    return ModelConfig(
        name_or_path=mine.model,
        revision=mine.revision,
        dtype=own.dtype,
        attn_implementation=own.attn_implementation,
        processor=processor,
        trust_remote_code=own.trust_remote_code,
    )


def _architecture(name_or_path: str) -> Any:
    source = find_model(name_or_path) if name_or_path else ""
    checkpoint = read_checkpoint_config(source, None, "model") if source else None
    return (checkpoint or {}).get("model_type", name_or_path)


def models_identity(config: Config, mine: MineConfig, seed: int) -> dict[str, Any]:
    """Return what names the models by content."""
    second = None if mine.second_model is None else model_identity(ModelConfig(name_or_path=mine.second_model), seed)
    return {"model": model_identity(mining_model(config, mine), seed), "second_model": second}
