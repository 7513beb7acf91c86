"""The files below a folder, in an order that is always the same, and what of it can't be walked."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


def walk(folder: Path, passed: PassedOver | None = None) -> Iterator[Path]:
    """Yield the files below ``folder`` in sorted order, holding the names of one folder at a time.

    Args:
        folder: where to begin.
        passed: takes what is not entered.
    """
    passed = passed or PassedOver()

    def note(error: OSError) -> None:
        passed.closed[Path(error.filename)] = error.strerror or type(error).__name__

    for parent, folders, files in os.walk(folder, onerror=note):
        folders.sort()
        passed.links += [path for name in folders if (path := Path(parent, name)).is_symlink()]
        yield from (Path(parent) / file for file in sorted(files))
