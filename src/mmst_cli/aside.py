"""What is to be replaced stands aside until the new can take its place, and comes back if it never does.

All of it is renaming within one folder, so that nothing is copied and a process may be killed at any moment: what
stands in ``.replaced`` is the old, whole; what stands in ``.moving`` is part of the old, the rest of which is in place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

REPLACED, MOVING = ".replaced", ".moving"
FAILED = "failed"  # what the new had written when it failed


def set_aside(folder: Path, entries: Iterable[Path]) -> None:
    """Move what is to be replaced out of the way.

    Args:
        folder: the output folder, in which nothing stands aside.
        entries: files and folders in it.
    """
    shutil.rmtree(folder / FAILED, ignore_errors=True)
    moving = folder / MOVING
    moving.mkdir()
    for entry in entries:
        if entry.name != FAILED:
            entry.rename(moving / entry.name)
    moving.rename(folder / REPLACED)


def is_aside(folder: Path) -> bool:
    """Whether something stands aside, to be put back or dropped."""
    return (folder / REPLACED).is_dir()


def put_back(folder: Path, entries: Iterable[Path]) -> None:
    """Bring back what was set aside; what was written in its place is then in ``failed/``.

    Args:
        folder: the output folder.
        entries: what was written in it since.
    """
    failed = folder / FAILED
    shutil.rmtree(failed, ignore_errors=True)
    written = [entry for entry in entries if entry != failed]
    if written:
        failed.mkdir()
    for entry in written:
        entry.rename(failed / entry.name)
    (folder / REPLACED).rename(folder / MOVING)
    finish_moving(folder)


def finish_moving(folder: Path) -> None:
    """Move back what a killed process left half moved."""
    moving = folder / MOVING
    if moving.is_dir():
        for entry in moving.iterdir():
            entry.rename(folder / entry.name)
        moving.rmdir()


def drop_aside(folder: Path) -> None:
    """Remove what was set aside: the new can be gone on with, or is whole."""
    shutil.rmtree(folder / REPLACED, ignore_errors=True)
