"""The files below a folder or of a pattern, in an order that is always the same, and what of it can't be walked."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NAMED = 3  # folders named in a sentence


@dataclass
class PassedOver:
    """The folders below one that were not entered."""

    links: list[Path] = field(default_factory=list)
    """Those that are links: followed, they might lead in a circle, or to the same files again."""
    closed: dict[Path, str] = field(default_factory=dict)
    """Those that can't be entered, and why not."""

    def in_words(self) -> str:
        """Return a sentence about them, with a space before it; nothing where there are none."""
        found = [f"{path} can't be entered ({why})" for path, why in self.closed.items()]
        found += [f"{path} is a link, which isn't followed" for path in self.links]
        more = ", ..." if len(found) > NAMED else ""
        return f" {'; '.join(found[:NAMED])}{more}." if found else ""

    def note(self, error: OSError) -> None:
        """Take a folder that can't be entered by what was raised; what is no folder, or is gone, is none."""
        if not isinstance(error, NotADirectoryError | FileNotFoundError):
            self.closed[Path(error.filename)] = error.strerror or type(error).__name__


def walk(folder: Path, passed: PassedOver | None = None) -> Iterator[Path]:
    """Yield the files below ``folder`` in sorted order, holding the names of one folder at a time.

    Args:
        folder: where to begin.
        passed: takes what is not entered.
    """
    passed = passed or PassedOver()

    for parent, folders, files in os.walk(folder, onerror=passed.note):
        folders.sort()
        passed.links += [path for name in folders if (path := Path(parent, name)).is_symlink()]
        yield from (Path(parent) / file for file in sorted(files))


def match(pattern: Path, passed: PassedOver | None = None) -> list[Path]:
    """Return what a pattern stands for, sorted; `**` is any number of folders.

    Hidden names want a dot in the pattern, as with `glob`. Unlike there, folders that can't be entered are known, and
    `**` enters each folder once: a link that leads back to its own would give every file dozens of times.

    Args:
        pattern: a path with wildcards.
        passed: takes the folders that can't be entered; links to folders are followed.
    """
    return sorted(set(_matches(Path(), pattern.parts, passed or PassedOver())), key=str)


def _matches(folder: Path, parts: Sequence[str], passed: PassedOver) -> Iterator[Path]:
    """Yield what is in a folder by the names in ``parts``, which may have wildcards; some of it twice."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        for below in _folders_below(folder, passed):
            yield from _matches(below, rest or ("*",), passed)
        return
    if glob.has_magic(part):
        names = [name for name in _names(folder, passed) if part.startswith(".") or not name.startswith(".")]
        found = [folder / name for name in sorted(fnmatch.filter(names, part))]
    else:
        found = [folder / part]
    for path in found:
        if rest and path.is_dir():
            yield from _matches(path, rest, passed)
        elif not rest and path.exists():
            yield path


def _names(folder: Path, passed: PassedOver) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError as error:
        passed.note(error)
        return []


def _folders_below(folder: Path, passed: PassedOver) -> Iterator[Path]:
    """Yield a folder and those below it, each once: first those that are there by themselves, then behind links."""
    entered, waiting = set[tuple[int, int]](), [folder]
    while waiting:
        for parent, folders, _ in os.walk(waiting.pop(0), onerror=passed.note):
            status = Path(parent).stat()
            if (here := (status.st_dev, status.st_ino)) in entered:
                folders.clear()
                continue
            entered.add(here)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            waiting += [path for name in folders if (path := Path(parent, name)).is_symlink()]
            yield Path(parent)
