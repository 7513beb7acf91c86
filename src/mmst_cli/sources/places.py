"""What the `path` of a dataset section stands for, and how it is read."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError
from mmst_cli.sources.library_builders import no_rows
from mmst_cli.sources.local_files import (
    READERS,
    choose_reader,
    find_files,
    folder_of_pattern,
    is_pattern,
    local_path,
    row_ending,
)
from mmst_cli.sources.remote_files import find_remote_files, is_remote
from mmst_cli.sources.saved_datasets import is_saved


@dataclass(frozen=True)
class Place:
    """A source of rows, found."""

    builder: str = ""
    """A hub id, a folder or the name of a builder of `datasets`; nothing where it is built in or `saved`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of that builder."""
    files: tuple[Path, ...] = ()
    """Those on this machine, if it is files."""
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
        return Place(saved=path) if is_saved(path) else Place(str(path), {"name": config.name})
    if path.is_file():
        return _of_local_files(at, config, [path])
    if is_pattern(config.path):
        return _of_local_files(at, config, find_files(at, config.path))
    if names_a_local_path(config.path):
        raise DataError(f"{at}.path: {config.path}: no such file or folder.")
    return Place(config.path, {"name": config.name, "revision": config.revision})


def names_a_local_path(path: str) -> bool:
    """Whether a path that doesn't exist was meant as one, and not as a hub id such as ``owner/name``."""
    return (
        path.startswith(("/", ".", "~", "file://"))
        or path.count("/") > 1
        or is_pattern(path)
        or row_ending(path) in READERS
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
    return Place(reader.builder, {**reader.arguments, "data_files": data_files}, files=tuple(filled))


def _of_files(at: str, path: str, addresses: Sequence[str], *, afresh: bool) -> Place:
    reader = choose_reader(at, path, addresses)
    data_files = [glob.escape(address) for address in addresses]
    return Place(reader.builder, {**reader.arguments, "data_files": data_files}, afresh=afresh)
