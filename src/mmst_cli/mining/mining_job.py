"""What `mmst mine` was asked for, its output, and the folder it works in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import Config, DatasetConfig, MineConfig, ModelConfig
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.mining.mining_summary import MiningFacts
from mmst_cli.model.checkpoint import read_checkpoint_config
from mmst_cli.model.load_model import find_model
from mmst_cli.model.model_identity import model_identity
from mmst_cli.sources.places import would_read
from mmst_cli.work import begin_job, check_choice, check_same_job, parquet_metadata, read_job

KEY = b"mmst_mine"  # in the metadata of the output


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


@dataclass(frozen=True)
class Places:
    """Where things are written."""

    output: Path

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.output.with_suffix(".html")

    @property
    def media(self) -> Path:
        """Media that are embedded in the source and are files here."""
        return self.output.with_suffix(".media")

    @property
    def work(self) -> Path:
        """What is kept until the output stands."""
        return self.output.with_name(f".{self.output.name}.work")


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
    settings = {
        name: value for name, value in options.mine.model_dump().items() if name not in ("model", "second_model")
    }
    job = {
        "rows": rows,
        **models,
        "settings": settings,
        "seed": options.seed,
        "embed_media": options.embed_media,
        "rows_per_part": options.rows_per_part,
        "media": config.media.record(),
        "prompts": dict(config.prompts),
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


def check_output(places: Places, section: DatasetConfig, *, resume: bool, overwrite: bool) -> None:
    """Refuse to write over what is there, before anything is loaded.

    Raises:
        ConfigError: the output can't be one.
        RunError: the output, or the work of a command that was killed, is there.
    """
    if places.output.suffix != ".parquet":
        raise ConfigError(f"--output: {places.output}: the rows are written as parquet. Let the name end in .parquet.")
    check_choice(resume=resume, overwrite=overwrite)
    if would_read(section.path, places.output):
        raise ConfigError(f"--output: {places.output} is, or would be, part of what is mined in. Name another file.")
    if resume or overwrite:
        return
    if places.work.is_dir():
        raise RunError(f"--output: {places.output} was begun and not finished. Add --resume to go on, or --overwrite.")
    for path in (places.output, places.sheet):
        if path.exists():
            raise RunError(f"--output: {path} exists. Name another file, or add --overwrite.")


def take_up(places: Places, job: dict[str, Any], *, resume: bool, overwrite: bool) -> MiningFacts | None:
    """Check that what is there is of the same job; nothing is written.

    Returns:
        What was found, if the output stands already and nothing is left to do.

    Raises:
        RunError: what is there is of another job; the message names what differs.
    """
    if overwrite:
        return None
    if places.work.is_dir():
        # Killed before it was written down what for, nothing else is there.
        if (before := read_job(places.work)) is not None:
            check_same_job(places.work, before, job)
    elif resume and places.output.is_file():
        written = _read_metadata(places.output)
        check_same_job(places.output, written.get("job", {}), job)
        return MiningFacts(**written["facts"])
    return None


def begin_work(places: Places, job: dict[str, Any], *, overwrite: bool) -> None:
    """Make the work folder, unless it is there to go on with."""
    begin_job(places.work, job, stale=[places.work] if overwrite else [])


def _read_metadata(output: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((parquet_metadata(output) or {})[KEY]))
    except (KeyError, ValueError) as error:
        raise RunError(f"--resume: {output} wasn't written by mmst mine. Name another file.") from error
