"""Rows that are stored as `datasets` keeps them: the built-in data, and folders written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.data.loading import first_line, no_rows
from mmst_cli.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

BUILTIN_DATASETS = ("builtin:pages", "builtin:sounds", "builtin:clips")


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()


def load_saved(at: str, folder: Path, config: DatasetConfig) -> Dataset:
    """Return the rows of ``config.split`` in a folder written by `save_to_disk`.

    Raises:
        DataError: it can't be read, or has no such split.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(str(folder))
    except IndexError as error:  # how it reports a dataset that was saved without rows
        raise no_rows(at, config) from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{at}.path: {config.path} can't be read: {first_line(error)}") from error
    if not isinstance(saved, DatasetDict):  # one split, whatever it was called
        saved = {config.split.partition("[")[0]: saved}
    return slice_splits(f"{at}.split", config.split, saved)


def load_builtin(at: str, config: DatasetConfig) -> Dataset:
    """Return generated rows, which are kept in the cache folder: those of ``config.name``, or of ``config.split``.

    Raises:
        DataError: there is no such built-in dataset, or it has no part of this name.
    """
    from datasets import load_from_disk

    if config.path not in BUILTIN_DATASETS:
        raise DataError(
            f"{at}.path: {config.path}: no such built-in dataset; there is {', '.join(BUILTIN_DATASETS)}."
            + did_you_mean(config.path, BUILTIN_DATASETS)
        )
    built_in = _find_builtin(config.path)
    name = config.name or config.split.partition("[")[0]
    if name not in built_in.names:
        raise DataError(
            f"{at}.name: {name}: {config.path} has {', '.join(built_in.names)}." + did_you_mean(name, built_in.names)
        )
    brackets = config.split[config.split.find("[") :] if "[" in config.split else ""
    return slice_splits(at, f"{name}{brackets}", {name: load_from_disk(str(built_in.build(name)))})


def slice_splits(at: str, split: str, saved: Mapping[str, Dataset]) -> Dataset:
    """Return the rows of ``train``, ``train[:300]`` or ``train[:10%]+test``, as `load_dataset` reads them."""
    from datasets import ReadInstruction, concatenate_datasets

    try:
        parts = ReadInstruction.from_spec(split).to_absolute({name: len(rows) for name, rows in saved.items()})
    except ValueError as error:
        name = split.partition("[")[0]
        if name in saved:
            raise DataError(f"{at}: {split}: {first_line(error)}") from error
        raise DataError(f"{at}: {split}: there is {', '.join(saved)}." + did_you_mean(name, saved)) from error
    chosen = [saved[part.splitname].select(range(part.from_, part.to)) for part in parts if part.from_ < part.to]
    return concatenate_datasets(chosen) if chosen else next(iter(saved.values())).select([])


@dataclass(frozen=True)
class _Builtin:
    names: Sequence[str]
    build: Callable[[str], Path]


def _find_builtin(path: str) -> _Builtin:
    from mmst_cli.data import clips, pages, sounds

    return {
        "builtin:pages": _Builtin(pages.NAMES, pages.build_pages),
        "builtin:sounds": _Builtin(sounds.NAMES, sounds.build_sounds),
        "builtin:clips": _Builtin(clips.NAMES, clips.build_clips),
    }[path]
