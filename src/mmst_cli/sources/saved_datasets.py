"""Rows that are stored as `datasets` keeps them: the built-in data, and folders written by `save_to_disk`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.builtin.registry import build_builtin_dataset
from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError, did_you_mean, first_line, visible
from mmst_cli.sources.places import no_rows

if TYPE_CHECKING:
    from datasets import Dataset


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
        raise DataError(f"{at}.path: {visible(config.path)} can't be read: {first_line(error)}") from error
    if not isinstance(saved, DatasetDict):  # one split, whatever it was called
        saved = {config.split.partition("[")[0]: saved}
    return slice_splits(f"{at}.split", config.split, saved)


def load_builtin(at: str, config: DatasetConfig) -> Dataset:
    """Return generated rows, which are kept in the cache folder: those of ``config.name``, or of ``config.split``.

    Raises:
        DataError: there is no such built-in dataset, or it has no part of this name.
    """
    from datasets import load_from_disk

    name = config.name or config.split.partition("[")[0]
    folder = build_builtin_dataset(at, config.path, name)
    brackets = config.split[config.split.find("[") :] if "[" in config.split else ""
    return slice_splits(at, f"{name}{brackets}", {name: load_from_disk(str(folder))})


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
