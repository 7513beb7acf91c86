"""Files of rows on this machine: which endings are read, by what, and which files a pattern stands for."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mmst_cli.errors import DataError
from mmst_cli.storage import expand_home

FILE_READERS = {".parquet": "parquet", ".jsonl": "json", ".csv": "csv"}  # in the order in which layout beir looks
COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class Reader:
    """What reads files of one kind: a builder of `datasets`, and its arguments."""

    builder: str
    arguments: dict[str, Any] = field(default_factory=dict)


READERS = {ending: Reader(builder) for ending, builder in FILE_READERS.items()} | {
    ".json": Reader("json"),
    ".tsv": Reader("csv", {"sep": "\t"}),
    ".arrow": Reader("arrow"),
    ".tar": Reader("webdataset"),
}
_MAY_BE_COMPRESSED = (".jsonl", ".json", ".csv", ".tsv")


def row_ending(name: str) -> str:
    """Return the ending that says how a file is read, `.csv` for `rows.csv.gz`; the last one if none does."""
    path = PurePosixPath(name.lower())
    inner = PurePosixPath(path.stem).suffix
    return inner if path.suffix in COMPRESSED and inner in _MAY_BE_COMPRESSED else path.suffix


def is_pattern(path: str) -> bool:
    """Whether a path stands for several files."""
    return glob.has_magic(path)


def local_path(path: str) -> Path:
    """Return the path on this machine that a config means by ``path``, which may begin with ``~/`` or ``file://``."""
    return expand_home(path.removeprefix("file://"))


def folder_of_pattern(path: str) -> Path:
    """Return the folder above the first part with a wildcard: ``data`` for ``data/**/part-*.parquet``."""
    parts = local_path(path).parts
    first = next(index for index, part in enumerate(parts) if is_pattern(part))
    return Path(*parts[:first])


def find_files(at: str, path: str) -> list[Path]:
    """Return the files that a pattern stands for, sorted by path; `**` is any number of folders.

    Raises:
        DataError: there is none.
    """
    found = sorted(glob.glob(str(local_path(path)), recursive=True))  # noqa: PTH207 - Path.glob has no absolute ones
    files = [Path(name) for name in found if Path(name).is_file()]
    if files:
        return files
    hint = f", only {len(found)} folder(s). Write {path}/* for the files in there" if found else ""
    raise DataError(f"{at}.path: {path}: matches no file{hint}.")


def choose_reader(at: str, path: str, names: Iterable[str]) -> Reader:
    """Return what reads these files.

    Args:
        at: the key of the section, for messages.
        path: the path or pattern of the config.
        names: of the files it stands for.

    Raises:
        DataError: one has an ending that isn't read, or they are of several kinds.
    """
    endings = {row_ending(name): name for name in names}
    for ending in endings:
        if ending not in READERS:
            raise DataError(
                f"{at}.path: {path}: files of rows end in {', '.join(READERS)}, found {ending or 'no ending'}"
                + (f" ({endings[ending]})." if is_pattern(path) else ".")
            )
    first, *others = (READERS[ending] for ending in endings)
    if any(other != first for other in others):
        raise DataError(
            f"{at}.path: {path}: matches files of several kinds, {', '.join(sorted(endings))}. Write a pattern for one"
            f" of them, ending in *{min(endings)}."
        )
    return first
