"""What the cache folder holds, by kind, and removing it: `mmst cache`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from mmst_cli.errors import ConfigError, did_you_mean
from mmst_cli.storage import cache_folder

PREPARED, MEDIA, MINED = "prepared", "media", "mined"
"""Folders of the cache, MINED with what names the job behind a hyphen."""
KINDS = {
    PREPARED: "images read once, of datasets with `prepare: true`",
    MEDIA: "media fetched from addresses",
    MINED: "hard negatives mined before training",
    "generated": "built-in models and datasets",
}
ALL = "all"


@dataclass(frozen=True)
class Held:
    """What the cache holds of one kind."""

    kind: str
    files: int
    bytes: int


def held() -> list[Held]:
    """Return what the cache holds, each of KINDS."""
    found = []
    for kind in KINDS:
        sizes = [size for folder in _folders(kind) for size in _sizes(folder)]
        found.append(Held(kind, len(sizes), sum(sizes)))
    return found


def clear(kind: str) -> list[Held]:
    """Remove what the cache holds of a kind, or of all, and return what was there.

    Files that a running command has mapped stay readable to it.

    Args:
        kind: one of KINDS, or `all`.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in (*KINDS, ALL):
        known = (*KINDS, ALL)
        raise ConfigError(f"mmst cache clear: {kind}: name one of {', '.join(known)}.{did_you_mean(kind, known)}")
    found = [one for one in held() if kind in (one.kind, ALL)]
    for one in found:
        for folder in _folders(one.kind):
            shutil.rmtree(folder, ignore_errors=True)
    return found


def cache_table(found: list[Held]) -> Table:
    """Return what the cache holds as a table."""
    table = Table("kind", "what", "files", "size")
    for one in found:
        table.add_row(one.kind, KINDS[one.kind], f"{one.files:,}", decimal(one.bytes))
    table.add_row("", str(cache_folder()), f"{sum(o.files for o in found):,}", decimal(sum(o.bytes for o in found)))
    return table


def _folders(kind: str) -> list[Path]:
    there = sorted(cache_folder().iterdir()) if cache_folder().is_dir() else []
    return [path for path in there if path.is_dir() and _kind_of(path.name) == kind]


def _kind_of(name: str) -> str:
    kind = name.partition("-")[0]
    return kind if name in (PREPARED, MEDIA) or (kind == MINED and kind != name) else "generated"


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                yield path.stat().st_size
        except OSError:  # gone meanwhile
            continue
