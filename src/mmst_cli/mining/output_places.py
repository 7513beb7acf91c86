"""Where `mmst mine` and `mmst score` write, what is there already, and whether it is of the same job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.sources.places import would_read
from mmst_cli.work import begin_job, check_choice, check_same_job, parquet_metadata, read_job


@dataclass(frozen=True)
class Places:
    """Where `mmst mine` writes."""

    output: Path
    command: ClassVar[str] = "mine"
    does: ClassVar[str] = "mined in"

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

    @property
    def key(self) -> str:
        """Under which the output says what it is."""
        return f"mmst_{self.command}"

    @property
    def written(self) -> tuple[Path, ...]:
        """The files."""
        return (self.output, self.sheet)


@dataclass(frozen=True)
class ScoredPlaces(Places):
    """Where `mmst score` writes."""

    command: ClassVar[str] = "score"
    does: ClassVar[str] = "scored"

    @property
    def written(self) -> tuple[Path, ...]:
        """The file."""
        return (self.output,)


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
        raise ConfigError(
            f"--output: {places.output} is, or would be, part of what is {places.does}. Name another file."
        )
    if resume or overwrite:
        return
    if places.work.is_dir():
        raise RunError(f"--output: {places.output} was begun and not finished. Add --resume to go on, or --overwrite.")
    for path in places.written:
        if path.exists():
            raise RunError(f"--output: {path} exists. Name another file, or add --overwrite.")


def take_up(places: Places, job: dict[str, Any], *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
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
        written = _read_metadata(places)
        check_same_job(places.output, written.get("job", {}), job)
        return dict(written["facts"])
    return None


def begin_work(places: Places, job: dict[str, Any], *, overwrite: bool) -> None:
    """Make the work folder, unless it is there to go on with."""
    begin_job(places.work, job, stale=[places.work] if overwrite else [])


def _read_metadata(places: Places) -> dict[str, Any]:
    try:
        return dict(json.loads((parquet_metadata(places.output) or {})[places.key.encode()]))
    except (KeyError, ValueError) as error:
        raise RunError(
            f"--resume: {places.output} wasn't written by mmst {places.command}. Name another file."
        ) from error
