"""Whether two inputs of the command line name the same thing, whose id would stand twice in the output."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from mmst_cli.errors import ConfigError, DataError
from mmst_cli.sources.folder_walk import PassedOver
from mmst_cli.sources.places import find_files, is_pattern, local_path


def check_named_once(names: Sequence[str], media: Collection[str]) -> None:
    """Check that no input is named twice, by itself or within a folder or a pattern.

    The same file by another path is another id, and so is embedded again.

    Args:
        names: the inputs of the command line.
        media: endings of the files that are embedded where a folder or pattern holds them.

    Raises:
        ConfigError: one is; names both of its places.
    """
    owners: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        for one in _ids(name, media):
            if one in owners:
                raise ConfigError(_twice(one, name, owners[one]))
            owners[one] = name
        if local_path(name).is_dir():
            folders[Path(name).as_posix()] = name
    for one, name in owners.items():
        if Path(one).suffix.lower() not in media and not Path(one).is_dir():
            continue  # a table or text beside media is embedded only where it is named
        if ".." in Path(one).parts:
            continue
        for parent in map(Path.as_posix, Path(one).parents):
            if parent in folders and folders[parent] != name:
                raise ConfigError(_twice(one, name, folders[parent]))


def _ids(name: str, media: Collection[str]) -> list[str]:
    """Return what an input is called in ids: the files of a pattern of media, else the input itself."""
    path = local_path(name)
    if path.exists():
        return [Path(name).as_posix()]
    try:
        found = find_files(name, name, PassedOver()) if is_pattern(name) else []
    except DataError:  # opening it says so, or knows of another place where it is
        found = []
    return [file.as_posix() for file in found if file.suffix.lower() in media] or [name]


def _twice(one: str, name: str, owner: str) -> str:
    if Path(name) == Path(owner):
        return f"INPUT: {name} is named twice, and each id in the output stands for one input. Name it once."
    whole = one if one in (name, owner) else f"{one}, of {name},"
    return f"INPUT: {whole} is also in {owner}, and its id would stand twice in the output. Name one of the two."
