"""The checkpoints in a run folder, and which of them are whole."""

from __future__ import annotations

import re
from pathlib import Path

from mmst_cli.storage import quick_digest_of_file, read_json, write_json

COMPLETE = "complete.json"  # written into a checkpoint once all of it is there


def checkpoint_folders(run: Path) -> list[Path]:
    """Return the trainer's own: a copy that somebody calls `checkpoint-100-good` isn't the run's to touch."""
    return [p for p in run.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", p.name) and p.is_dir()]


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def mark_whole(checkpoint: Path) -> None:
    """Write down which files a finished checkpoint has, how long they are, and a digest of each."""
    files = {
        str(path.relative_to(checkpoint)): [path.stat().st_size, quick_digest_of_file(path)]
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != COMPLETE
    }
    write_json(checkpoint / COMPLETE, files)


def is_whole(checkpoint: Path) -> bool:
    """Whether every file that :func:`mark_whole` wrote down is there in full."""
    try:
        files = _marked(checkpoint)
        return bool(files) and all((checkpoint / name).stat().st_size == size for name, (size, _) in files.items())
    except (OSError, ValueError):
        return False


def damaged_file(checkpoint: Path) -> str | None:
    """Return a file of a whole checkpoint that isn't what was saved, or None. All of it is read.

    After a machine went down files can have their length and not their content.
    """
    for name, (_, digest) in _marked(checkpoint).items():
        if digest is not None and quick_digest_of_file(checkpoint / name) != digest:
            return name
    return None


def _marked(checkpoint: Path) -> dict[str, tuple[int, str | None]]:
    """Return file to length and digest; an earlier version wrote down the length alone."""
    files = read_json(checkpoint / COMPLETE)
    return {name: (found, None) if isinstance(found, int) else (found[0], found[1]) for name, found in files.items()}
