"""Where rows come from: hub ids, save_to_disk folders, files, folders of files or images, generated pages."""

from __future__ import annotations

import glob
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.data import pages
from mmst_cli.data.media import expand_home
from mmst_cli.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

FILE_READERS = {".parquet": "parquet", ".jsonl": "json", ".csv": "csv"}
BUILTIN_DATASETS = ("builtin:pages",)
_BEGINNINGS = {  # of what `datasets` says, and the key that is wrong then
    "BuilderConfig": "name",
    "Config name is missing": "name",
    "Couldn't find cache for": "name",  # offline
    "Unknown split": "split",
}


class NoConfigurationError(DataError):
    """A hub dataset or folder has no configuration of the wanted name, but those in ``known``."""

    def __init__(self, message: str, known: list[str]) -> None:
        super().__init__(message)
        self.known = known


def load_rows(key: str, config: DatasetConfig, seed: int = 0) -> Dataset:
    """Load the rows that a dataset section names, all columns of them.

    Args:
        key: name of the section under ``datasets``, for messages.
        config: the section.
        seed: chooses the rows where ``max_rows`` leaves some out.

    Raises:
        DataError: nothing there, no such split or configuration, or unreadable.
    """
    at = f"datasets.{key}"
    path = expand_home(config.path)
    if config.path.startswith("builtin:"):
        rows = _load_builtin(at, config)
    elif path.is_file():
        rows = _load_file(at, path, config)
    elif path.is_dir():
        rows = _load_folder(at, path, config)
    elif names_a_local_path(config.path):
        raise DataError(f"{at}.path: {config.path}: no such file or folder.")
    else:
        rows = _load(at, config, config.path, name=config.name, revision=config.revision)
    if len(rows) == 0:
        raise _no_rows(at, config)
    return choose_rows(rows, config.max_rows, seed)


def choose_rows(rows: Dataset, max_rows: int | None, seed: int) -> Dataset:
    """Keep at most ``max_rows`` rows, drawn from ``seed``, in their order."""
    if max_rows is None or max_rows >= len(rows):
        return rows
    return rows.select(choose_indices(len(rows), max_rows, seed))


def choose_indices(count: int, at_most: int | None, seed: int) -> list[int]:
    """Return at most so many of the numbers below ``count``, drawn from ``seed``, ascending."""
    if at_most is None or at_most >= count:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), at_most))


def media_folder(config: DatasetConfig) -> Path:
    """Return the folder that paths in a media column are relative to: that of the file."""
    path = expand_home(config.path)
    return (path if path.is_dir() else path.parent).absolute()


def names_a_local_path(path: str) -> bool:
    """Whether a path that doesn't exist was meant as one, and not as a hub id such as ``owner/name``."""
    return path.startswith(("/", ".", "~")) or path.count("/") > 1 or Path(path).suffix in FILE_READERS


def _load_builtin(at: str, config: DatasetConfig) -> Dataset:
    from datasets import load_from_disk

    if config.path not in BUILTIN_DATASETS:
        raise DataError(
            f"{at}.path: {config.path}: no such built-in dataset; there is {', '.join(BUILTIN_DATASETS)}."
            + did_you_mean(config.path, BUILTIN_DATASETS)
        )
    name = config.name or config.split.partition("[")[0]
    if name not in pages.NAMES:
        raise DataError(
            f"{at}.name: {name}: builtin:pages has {', '.join(pages.NAMES)}." + did_you_mean(name, pages.NAMES)
        )
    brackets = config.split[config.split.find("[") :] if "[" in config.split else ""
    return slice_splits(at, f"{name}{brackets}", {name: load_from_disk(str(pages.build_pages(name)))})


def _load_file(at: str, path: Path, config: DatasetConfig) -> Dataset:
    reader = FILE_READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{at}.path: {config.path}: files of rows end in {', '.join(FILE_READERS)}, "
            f"found {path.suffix or 'no ending'}."
        )
    if path.stat().st_size == 0:
        raise _no_rows(at, config)
    return _load(at, config, reader, data_files=glob.escape(str(path)))


def _load_folder(at: str, path: Path, config: DatasetConfig) -> Dataset:
    from datasets import DatasetDict, load_from_disk

    if not ((path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()):
        return _load(at, config, str(path), name=config.name)
    try:
        saved = load_from_disk(str(path))
    except IndexError as error:  # how it reports a dataset that was saved without rows
        raise _no_rows(at, config) from error
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{at}.path: {config.path} can't be read: {_first_line(error)}") from error
    if not isinstance(saved, DatasetDict):  # one split, whatever it was called
        saved = {config.split.partition("[")[0]: saved}
    return slice_splits(f"{at}.split", config.split, saved)


def slice_splits(at: str, split: str, saved: Mapping[str, Dataset]) -> Dataset:
    """Return the rows of ``train``, ``train[:300]`` or ``train[:10%]+test``, as `load_dataset` reads them."""
    from datasets import ReadInstruction, concatenate_datasets

    try:
        parts = ReadInstruction.from_spec(split).to_absolute({name: len(rows) for name, rows in saved.items()})
    except ValueError as error:
        name = split.partition("[")[0]
        if name in saved:
            raise DataError(f"{at}: {split}: {_first_line(error)}") from error
        raise DataError(f"{at}: {split}: there is {', '.join(saved)}." + did_you_mean(name, saved)) from error
    chosen = [saved[part.splitname].select(range(part.from_, part.to)) for part in parts if part.from_ < part.to]
    return concatenate_datasets(chosen) if chosen else next(iter(saved.values())).select([])


def _load(at: str, config: DatasetConfig, builder: str, **arguments: Any) -> Dataset:
    from datasets import load_dataset

    with mendable(at, config):
        return load_dataset(builder, split=config.split, **arguments)


@contextmanager
def mendable(at: str, config: DatasetConfig) -> Iterator[None]:
    """Raise what `datasets` raises inside as a DataError, telling apart what a user can mend."""
    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        yield
    except DatasetNotFoundError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            raise DataError(
                f"{at}.revision: {config.revision}: {config.path} has no such branch, tag or commit."
            ) from error
        raise DataError(
            f"{at}.path: {config.path}: no such file, folder or hub dataset, or it is gated and needs `hf auth login`."
        ) from error
    except DatasetGenerationError as error:
        cause = error.__cause__ or error
        if _says_empty(cause):
            raise _no_rows(at, config) from error
        raise DataError(f"{at}.path: {config.path} can't be read: {_first_line(cause)}") from error
    except ValueError as error:
        if _says_empty(error):
            raise _no_rows(at, config) from error
        raise _wrong_choice(at, config, error) from error
    except (OSError, ConnectionError) as error:
        raise DataError(f"{at}.path: {config.path} can't be loaded: {_first_line(error)}") from error


def _says_empty(error: BaseException) -> bool:
    """Whether this is how `datasets` reports a file or a split without rows."""
    return any(text in str(error) for text in ("corresponds to no data", "BatchSize must be greater than 0, got 0"))


def _no_rows(at: str, config: DatasetConfig) -> DataError:
    return DataError(f"{at}.path: {config.path} holds no rows in split {config.split}.")


def _wrong_choice(at: str, config: DatasetConfig, error: ValueError) -> DataError:
    """Name the key of a wrong configuration or split: `datasets` reports either by a ValueError with what there is."""
    text = str(error)
    key = next((key for beginning, key in _BEGINNINGS.items() if text.startswith(beginning)), None)
    listed = re.search(r"\[(.*?)\]", text)
    if key is None or listed is None:
        return DataError(f"{at}: {config.path}: {_first_line(error)}")
    known = re.findall(r"'([^']*)'", listed[1])
    wanted = getattr(config, key)
    if wanted is None:
        return DataError(f"{at}.{key}: missing. {config.path} has {', '.join(known)}.")
    message = f"{at}.{key}: {wanted}: {config.path} has {', '.join(known)}." + did_you_mean(wanted, known)
    return NoConfigurationError(message, known) if key == "name" else DataError(message)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
