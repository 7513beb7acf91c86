"""Rows that are read while they are used: what can't be had so, and how the columns of a stream become known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import DatasetConfig
from mmst_cli.errors import DataError
from mmst_cli.sources.library_builders import no_rows

if TYPE_CHECKING:
    from datasets import Features, IterableDataset

_PEEKED = 100  # rows that features are inferred from


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
