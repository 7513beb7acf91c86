"""What the `path` of a dataset section stands for, and what reads it."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError, visible
from mmst_cli.sources.folder_walk import PassedOver, match
from mmst_cli.sources.remote_files import find_remote_files, is_remote
from mmst_cli.storage import expand_home

_log = logging.getLogger(__name__)
FILE_READERS = {".parquet": "parquet", ".jsonl": "json", ".csv": "csv"}  # in the order in which layout beir looks
COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class FileReader:
    """What reads files of one kind: a builder of `datasets`, and its arguments."""

    builder: str
    arguments: dict[str, Any] = field(default_factory=dict)


READERS = {ending: FileReader(builder) for ending, builder in FILE_READERS.items()} | {
    ".json": FileReader("json"),
    ".tsv": FileReader("csv", {"sep": "\t"}),
    ".arrow": FileReader("arrow"),
    ".tar": FileReader("webdataset"),
}
_MAY_BE_COMPRESSED = (".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True)
class Place:
    """A source of rows, found."""

    builder: str = ""
    """A hub id, a folder or the name of a builder of `datasets`; nothing where it is built in or `saved`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of that builder."""
    files: tuple[Path, ...] = ()
    """Those on this machine, if it is files."""
    addresses: tuple[str, ...] = ()
    """The files by path or address, if it is files, here or elsewhere."""
    saved: Path | None = None
    """A folder written by `save_to_disk`."""
    afresh: bool = False
    """Nothing tells whether a copy that was downloaded earlier is still right."""


def find_place(at: str, config: DatasetConfig) -> Place:
    """Return what a dataset section names. A path that is there wins over one that is read as a pattern.

    Args:
        at: the key of the section, for messages.
        config: the section.

    Raises:
        DataError: nothing there, of no kind that is read, or of several.
    """
    if config.path.startswith("builtin:"):
        return Place()
    if is_remote(config.path):
        addresses, versioned = find_remote_files(at, config.path)
        return _of_files(at, config.path, addresses, afresh=not versioned)
    path = local_path(config.path)
    if path.is_dir():
        named = path if path.name else path.absolute()  # `.` has no name, which the library would ask for
        return Place(saved=path) if is_saved(path) else Place(str(named), {"name": config.name})
    if path.is_file():
        return _of_local_files(at, config, [path])
    if is_pattern(config.path):
        return _of_local_files(at, config, find_files(at, config.path))
    if names_a_local_path(config.path):
        raise DataError(f"{at}.path: {visible(config.path)}: no such file or folder.")
    return Place(config.path, {"name": config.name, "revision": config.revision})


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def names_a_local_path(path: str) -> bool:
    """Whether a path that doesn't exist was meant as one, and not as a hub id such as ``owner/name``."""
    return (
        path.startswith(("/", ".", "~", "file://"))
        or path.count("/") > 1
        or is_pattern(path)
        or row_ending(path) in READERS
        or visible(path) != path
    )


def media_folder(config: DatasetConfig) -> Path:
    """Return the folder that paths in a media column are relative to.

    That of the file; of a pattern, the one above its first wildcard; of an address, the working directory.
    """
    path = local_path(config.path)
    if is_remote(config.path):
        return Path.cwd()
    if path.is_dir():
        return path.absolute()
    if is_pattern(config.path) and not path.is_file():
        return folder_of_pattern(config.path).absolute()
    return path.parent.absolute()


def _of_local_files(at: str, config: DatasetConfig, files: Sequence[Path]) -> Place:
    reader = choose_reader(at, config.path, (file.name for file in files))
    filled = [file.absolute() for file in files if file.stat().st_size]  # one without a byte has no rows
    if not filled:
        raise no_rows(at, config)
    data_files = [glob.escape(str(file)) for file in filled]
    return Place(reader.builder, {**reader.arguments, "data_files": data_files}, tuple(filled), tuple(map(str, filled)))


def _of_files(at: str, path: str, addresses: Sequence[str], *, afresh: bool) -> Place:
    reader = choose_reader(at, path, addresses)
    data_files = [glob.escape(address) for address in addresses]
    return Place(reader.builder, {**reader.arguments, "data_files": data_files}, (), tuple(addresses), afresh=afresh)


def no_rows(at: str, config: DatasetConfig) -> DataError:
    """Return the error for a source that is there and empty."""
    return DataError(f"{at}.path: {visible(config.path)} holds no rows in split {config.split}.")


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


def would_read(path: str, file: Path) -> bool:
    """Whether a file, once it is written, would be among the rows that a config means by ``path``."""
    source, target = local_path(path), Path(os.path.realpath(file))
    if source.is_dir():
        return not is_saved(source) and target.is_relative_to(os.path.realpath(source))
    if source.is_file() or not is_pattern(path):
        return target == Path(os.path.realpath(source))
    folder = folder_of_pattern(path)
    wanted = Path(os.path.realpath(folder), *source.parts[len(folder.parts) :])
    if "**" in wanted.parts:
        return fnmatch(str(target), str(wanted).replace("**/", "*"))
    pairs = zip(target.parts, wanted.parts, strict=False)
    return len(target.parts) == len(wanted.parts) and all(fnmatch(part, pattern) for part, pattern in pairs)


def folder_of_pattern(path: str) -> Path:
    """Return the folder above the first part with a wildcard: ``data`` for ``data/**/part-*.parquet``."""
    parts = local_path(path).parts
    first = next(index for index, part in enumerate(parts) if is_pattern(part))
    return Path(*parts[:first])


def find_files(at: str, path: str, passed: PassedOver | None = None) -> list[Path]:
    """Return the files that a pattern stands for, sorted by path; `**` is any number of folders.

    Args:
        at: the key of the section, for messages.
        path: the pattern.
        passed: takes the folders that can't be entered; there is a warning of them if left out.

    Raises:
        DataError: there is no file.
    """
    over = passed or PassedOver()
    found = match(local_path(path), over)
    files = [name for name in found if name.is_file()]
    if not files:
        hint = f", only {len(found)} folder(s). Write {path}/* for the files in there" if found else ""
        raise DataError(f"{at}.path: {visible(path)}: matches no file{hint}.{over.in_words()}")
    if passed is None and (said := over.in_words()):
        _log.warning("%s.path: %s: files may be left out:%s", at, visible(path), said)
    return files


def choose_reader(at: str, path: str, names: Iterable[str]) -> FileReader:
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
                f"{at}.path: {visible(path)}: files of rows end in {', '.join(READERS)}, found {ending or 'no ending'}"
                + (f" ({endings[ending]})." if is_pattern(path) else ".")
            )
    first, *others = (READERS[ending] for ending in endings)
    if any(other != first for other in others):
        raise DataError(
            f"{at}.path: {visible(path)}: matches files of several kinds, {', '.join(sorted(endings))}. Write a pattern"
            f" for one of them, ending in *{min(endings)}."
        )
    return first
