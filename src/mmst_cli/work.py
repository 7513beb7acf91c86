"""Work that goes on after it was killed: is it the same job, which parts are whole, and what has to go.

A command keeps its work as numbered parts, each a file that has its name once it is whole, beside a record of all that
decides what they hold. Taken up again with the same record, only what is missing is done, and the result is that of an
undisturbed run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from mmst_cli.errors import ConfigError, RunError
from mmst_cli.output_claim import LOCK
from mmst_cli.storage import read_json, write_json

JOB = "job.json"


def check_choice(*, resume: bool, overwrite: bool) -> None:
    """Refuse to keep and to replace at once.

    Raises:
        ConfigError: both are asked for.
    """
    if resume and overwrite:
        raise ConfigError("--resume keeps what is there and --overwrite replaces it. Choose one.")


def own_entries(output: Path, patterns: Sequence[str]) -> list[Path]:
    """Return what a command wrote into an output folder before: nothing where there is none, or it is empty.

    Args:
        output: the folder.
        patterns: globs of all that the command writes there.

    Raises:
        RunError: it is a file, or holds something else, which the command leaves alone.
    """
    if output.exists() and not output.is_dir():
        raise RunError(f"--output: {output} is a file; name a folder.")
    own = {path for pattern in patterns for path in output.glob(pattern)}
    there = output.iterdir() if output.is_dir() else ()
    others = sorted(path.name for path in there if path not in own and path.name != LOCK)
    if others:
        raise RunError(f"--output: {output} holds other files, such as {others[0]}. Name another folder.")
    return sorted(own)


def begin_job(
    folder: Path, job: dict[str, Any], stale: Sequence[Path] = (), keep: Collection[Path] = (), name: str = JOB
) -> None:
    """Make a folder ready for work: write its record, after removing what isn't of this job.

    Args:
        folder: where the record and the parts are.
        job: what decides the parts, in plain values.
        stale: files and folders that an earlier job may have left.
        keep: those of them that stay.
        name: the file of the record.
    """
    for path in stale:
        if path.is_dir():
            shutil.rmtree(path)
        elif path not in keep:
            path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, job)


def read_job(folder: Path, name: str = JOB) -> dict[str, Any] | None:
    """Return the record of the work in a folder; None where there is none that can be read."""
    return read_json(folder / name) or None


def check_same_job(where: Path, before: dict[str, Any] | None, job: dict[str, Any]) -> None:
    """Check that what is there was begun as what is asked for now.

    Args:
        where: the file or folder that is there.
        before: its record.
        job: what decides the result now, in plain values. What an older record lacks has to be None.

    Raises:
        RunError: it wasn't; the message names the first setting that differs.
    """
    if before is None:
        raise RunError(f"--resume: {where} has no readable {JOB}. Add --overwrite to begin anew.")
    then, now = flatten(before), flatten(json.loads(json.dumps(job)))
    key = next((key for key in {**then, **now} if then.get(key) != now.get(key)), None)
    if key is not None:
        raise RunError(
            f"--resume: {where} was begun with {key} {json.dumps(then.get(key))}, and now it is"
            f" {json.dumps(now.get(key))}. Repeat the command it was begun with, or add --overwrite to begin anew."
        )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the settings within mappings and lists of mappings under dotted keys, so that one can be named."""
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): value}
    return {name: entry for key, inner in value.items() for name, entry in flatten(inner, f"{prefix}{key}.").items()}


def part_path(folder: Path, name: str, number: int, ending: str = ".parquet") -> Path:
    """Return where part ``number`` of the work called ``name`` stands."""
    return folder / f"{name}-{number:05d}{ending}"


def parquet_metadata(path: Path) -> dict[bytes, bytes] | None:
    """Return what a parquet file says about itself; None where it is missing or not whole."""
    import pyarrow.parquet as pq

    try:
        return dict(pq.read_metadata(path).metadata or {})
    except (OSError, ValueError):  # pyarrow's own errors are of these kinds
        return None
