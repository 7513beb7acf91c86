"""The talk with `datasets`: rows through its builders, and what it raises as sentences that a user can act on."""

from __future__ import annotations

import errno
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError, WorkError, did_you_mean, first_line, visible
from mmst_cli.sources.declared_columns import DeclaredColumns
from mmst_cli.sources.places import no_rows

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

_BEGINNINGS = {  # of what `datasets` says, and the key that is wrong then
    "BuilderConfig": "name",
    "Config name is missing": "name",
    "Couldn't find cache for": "name",  # offline
    "Unknown split": "split",
    "Bad split": "split",  # when streaming
    "Unrecognized instruction format": "split",
}
_EMPTY = (  # how it reports a file, a split or an archive without rows
    "corresponds to no data",
    "BatchSize must be greater than 0, got 0",
    "Must pass at least one table",
    "Please pass `features` or at least one example",
)


_PEEKED = 100  # rows of a stream that features are inferred from


class NoConfigurationError(DataError):
    """A hub dataset or folder has no configuration of the wanted name, but those in ``known``."""

    def __init__(self, message: str, known: list[str]) -> None:
        super().__init__(message)
        self.known = known


def load(at: str, config: DatasetConfig, builder: str, *, afresh: bool = False, **arguments: Any) -> Dataset:
    """Return the rows of ``config.split`` as `datasets.load_dataset` does, but with archives left undecoded.

    Args:
        at: the key of the section, for messages.
        config: the section.
        builder: a hub id, a folder, or the name of a builder of `datasets`.
        afresh: don't trust what was downloaded earlier, as where nothing tells whether it has changed since.
        arguments: of `datasets.load_dataset_builder`.

    Raises:
        DataError: as :func:`mendable`.
    """
    from mmst_cli.sources.file_readers import make_builder

    with mendable(at, config):
        chosen = make_builder(builder, arguments, DeclaredColumns.of(config))
        how = {"download_mode": "force_redownload", "verification_mode": "no_checks"} if afresh else {}
        chosen.download_and_prepare(**how)
        return chosen.as_dataset(split=config.split)


def open_stream(at: str, config: DatasetConfig, builder: str, **arguments: Any) -> IterableDataset:
    """Return the rows of ``config.split`` as a stream; arguments and errors are those of :func:`load`."""
    from mmst_cli.sources.file_readers import make_builder

    with mendable(at, config):
        chosen = make_builder(builder, arguments, DeclaredColumns.of(config))
        for generator in ("_generate_tables", "_generate_examples"):  # of which a builder has one
            if (generate := getattr(chosen, generator, None)) is not None:
                setattr(chosen, generator, partial(_generate_mendable, at, config, generate))
        return chosen.as_streaming_dataset(split=config.split)


def _generate_mendable(
    at: str, config: DatasetConfig, generate: Callable[..., Iterator[Any]], /, **sources: Any
) -> Iterator[Any]:
    """Yield what a builder generates while a stream is read, where nothing else stands between it and its reader."""
    with mendable(at, config):
        yield from generate(**sources)


@contextmanager
def mendable(at: str, config: DatasetConfig) -> Iterator[None]:
    """Raise what `datasets` raises inside as a DataError, telling apart what a user can mend."""
    from tarfile import TarError

    from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError
    from pyarrow import ArrowException

    try:
        yield
    except DatasetNotFoundError as error:
        if isinstance(error.__cause__, RevisionNotFoundError):
            raise DataError(
                f"{at}.revision: {config.revision}: {visible(config.path)} has no such branch, tag or commit."
            ) from error
        raise DataError(
            f"{at}.path: {visible(config.path)}: no such file, folder or hub dataset, or it is gated and"
            " needs `hf auth login`."
        ) from error
    except DatasetGenerationError as error:
        _refuse_full_cache(config, error.__cause__ or error)
        raise _unreadable(at, config, error.__cause__ or error) from error
    except ValueError as error:
        if any(str(error).startswith(beginning) for beginning in _BEGINNINGS):
            raise _wrong_choice(at, config, error) from error
        raise _unreadable(at, config, error) from error
    except (TarError, ImportError, TypeError, EOFError, zlib.error, ArrowException) as error:
        raise _unreadable(at, config, error) from error
    except (OSError, ConnectionError) as error:
        _refuse_full_cache(config, error)
        raise DataError(f"{at}.path: {visible(config.path)} can't be loaded: {first_line(error)}") from error


def _refuse_full_cache(config: DatasetConfig, error: BaseException) -> None:
    """Raise a WorkError where there is no room for what the library makes of a file."""
    from datasets.config import HF_DATASETS_CACHE

    if "Not enough disk space" in str(error) or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        raise WorkError(
            f"{HF_DATASETS_CACHE}: there is no room for the rows of {visible(config.path)}. Make room, or set"
            " HF_DATASETS_CACHE to a folder on another disk."
        ) from error


def _unreadable(at: str, config: DatasetConfig, error: BaseException) -> DataError:
    text = str(error)
    if any(words in text for words in _EMPTY):
        return no_rows(at, config)
    if text.startswith("The TAR archives"):
        return DataError(
            f"{at}.path: {visible(config.path)}: the first samples of the archive have different members. Each has"
            " the same endings under its own name, one sample after the other: a.jpg, a.txt, b.jpg, b.txt."
        )
    if "present as dictionary key in metadata files" in text:
        return DataError(
            f"{at}.path: {visible(config.path)}: its metadata file has no column called file_name. Rename the one that"
            " names the file of each row to that."
        )
    why = first_line(error).removeprefix(f"{PurePosixPath(config.path).name}: ")  # which of several files it is
    return DataError(f"{at}.path: {visible(config.path)} can't be read: {why}")


def _wrong_choice(at: str, config: DatasetConfig, error: ValueError) -> DataError:
    """Name the key of a wrong configuration or split: `datasets` reports either by a ValueError with what there is."""
    text = str(error)
    key = next(key for beginning, key in _BEGINNINGS.items() if text.startswith(beginning))
    listed = re.search(r"\[(.*?)\]", text)
    known = re.findall(r"'([^']*)'", listed[1]) if listed else []
    if not known:
        return DataError(f"{at}.{key}: {visible(config.path)}: {first_line(error)}")
    wanted = getattr(config, key)
    if wanted is None:
        return DataError(f"{at}.{key}: missing. {visible(config.path)} has {', '.join(known)}.")
    message = f"{at}.{key}: {wanted}: {visible(config.path)} has {', '.join(known)}." + did_you_mean(wanted, known)
    return NoConfigurationError(message, known) if key == "name" else DataError(message)


def refuse_what_cannot_stream(at: str, config: DatasetConfig) -> None:
    """Raise for the fields of a section that need all rows at hand.

    Raises:
        DataError: a query, or a slice or sum of splits.
    """
    if config.sql is not None:
        raise DataError(f"{at}.sql: a query needs all rows, which streaming: true doesn't have. Leave out one of them.")
    whole = re.split(r"[\[+]", config.split)[0]
    if whole != config.split:
        raise DataError(
            f"{at}.split: {config.split}: a stream has whole splits only. Write {whole},"
            " with max_rows for the first rows of it."
        )


def declare_columns(at: str, config: DatasetConfig, stream: IterableDataset) -> IterableDataset:
    """Return the stream with its features known and its media left encoded.

    Raises:
        DataError: it has no rows.
    """
    from datasets import Audio, Image, Video

    if stream.features is None:
        if not (first := list(stream.take(_PEEKED))):
            raise no_rows(at, config)
        stream = stream.cast(_infer_features(first))
    for name, feature in stream.features.items():
        if isinstance(feature, Audio | Image | Video):
            stream = stream.cast_column(name, type(feature)(decode=False))
    if next(iter(stream), None) is None:
        raise no_rows(at, config)
    return stream


def _infer_features(rows: list[dict[str, Any]]) -> Features:
    """Return the features of these rows; a column that is empty in all of them holds text."""
    from datasets import Dataset, Value

    features = Dataset.from_list(rows).features
    for name, feature in features.items():
        if feature == Value("null"):
            features[name] = Value("string")
    return features
