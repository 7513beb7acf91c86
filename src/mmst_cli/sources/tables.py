"""Where rows come from: hub ids, folders, files, patterns, archives, addresses, generated data, or a query over any."""

from __future__ import annotations

import copy
import random
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.sources.library_builders import declare_columns, load, mendable, open_stream, refuse_what_cannot_stream
from mmst_cli.sources.places import Place, find_place, no_rows
from mmst_cli.sources.saved_datasets import load_builtin, load_saved
from mmst_cli.sources.sql import query_parquet, query_rows

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

MEDIA_FEATURES = ("Image", "Audio", "Video", "Pdf")  # of `datasets`
SHUFFLE_BUFFER = 1000  # rows of a stream that are held to draw the next one from
_STREAM_SHARDS = 16  # that stored rows are streamed in, so that several workers can share them


def load_rows(key: str, config: DatasetConfig, seed: int = 0) -> Dataset:
    """Load the rows that a dataset section names, all columns of them.

    ``split`` is applied first, then ``sql``, then ``max_rows``. The result of a query is held in memory.

    Args:
        key: name of the section under ``datasets``, for messages.
        config: the section.
        seed: chooses the rows where ``max_rows`` leaves some out, and what is random in a query.

    Raises:
        DataError: nothing there, no such split or configuration, unreadable, or a query that is wrong.
    """
    at = f"datasets.{key}"
    place = find_place(at, config)
    if config.sql is None:
        return choose_rows(_load_place(at, config, place), config.max_rows, seed)
    if config.split == "train" and (paths := _parquet_paths(place)):
        rows = query_parquet(at, config, paths, seed)
    else:
        rows = query_rows(at, config.sql, _load_place(at, config, place), seed)
    return choose_rows(rows, config.max_rows, seed)


def load_stream(key: str, config: DatasetConfig, seed: int = 0) -> IterableDataset:
    """Open the rows that a dataset section names as a stream: read while they are used, and not stored.

    Their order is not that of :func:`load_rows` shuffled. The shards (files, archives) come in an order drawn from
    the seed, and each row is drawn from the next 1,000 that wait in a buffer: rows that are far apart in a file stay
    far apart, so that sorted data should be mixed beforehand. The same seed gives the same order; so does the same
    epoch after ``set_epoch``. The buffer holds its rows encoded. With ``max_rows`` only the first so many are read,
    in their shards' own order.

    Args:
        key: name of the section under ``datasets``, for messages.
        config: the section.
        seed: of the order.

    Returns:
        A stream whose ``features`` are known; images, sounds and clips are ``{"bytes", "path"}``, not decoded. Where
        the source doesn't tell the features, they are inferred from its first rows.

    Raises:
        DataError: as :func:`load_rows`; slices of a split and queries can't be streamed.
    """
    at = f"datasets.{key}"
    refuse_what_cannot_stream(at, config)
    place = find_place(at, config)
    if place.builder:
        stream = open_stream(at, config, place.builder, **place.arguments)
    else:
        rows = _load_place(at, config, place)
        stream = rows.to_iterable_dataset(num_shards=min(_STREAM_SHARDS, len(rows)))
    with mendable(at, config):
        stream = declare_columns(at, config, stream)
    if config.max_rows is not None:
        stream = stream.take(config.max_rows)
    return stream.shuffle(seed=seed, buffer_size=SHUFFLE_BUFFER)


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


def leave_undecoded(rows: Any, names: list[str]) -> Any:
    """Return the rows or stream with media in these columns given as they are stored, whatever the dataset says."""
    plain = {name: _undecoded(rows.features[name]) for name in names}
    changed = {name: feature for name, feature in plain.items() if feature != rows.features[name]}
    if not hasattr(rows, "__len__"):
        for name, feature in changed.items():
            rows = rows.cast_column(name, feature)
        return rows
    # What is stored stays what it is. A cast would write a second copy of it wherever media are inside of structures.
    rows = copy.deepcopy(rows)
    rows.info.features.update(changed)
    return rows


def _undecoded(feature: Any) -> Any:
    from datasets import LargeList, List

    if type(feature).__name__ in MEDIA_FEATURES:
        return type(feature)(decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if isinstance(feature, List):
        return List(_undecoded(feature.feature), length=feature.length)
    return LargeList(_undecoded(feature.feature)) if isinstance(feature, LargeList) else feature


def _load_place(at: str, config: DatasetConfig, place: Place) -> Dataset:
    if place.saved is not None:
        rows = load_saved(at, place.saved, config)
    elif place.builder:
        rows = load(at, config, place.builder, afresh=place.afresh, **place.arguments)
    else:
        rows = load_builtin(at, config)
    if len(rows) == 0:
        raise no_rows(at, config)
    return rows


def _parquet_paths(place: Place) -> list[str]:
    """Return the files if DuckDB can read them itself, so that it reads no more of them than the query needs.

    Only Parquet says what its types are: those of other files are settled by `datasets`, with and without a query.
    """
    paths = [str(file) for file in place.files]
    readable = place.builder == "parquet" and not any(set("*?[") & set(path) for path in paths)
    return paths if readable else []
