"""The rows of every dataset of a config, opened without reading any input, and which of their cells hold the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xxhash

from mmst_cli.config.schema import Config, DatasetConfig, Layout, Use
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.retrieval.judgements import prepare_judgements
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.row_keys import column_keys
from mmst_cli.rows.row_preparation import declare_columns, keep_columns, number_rows, open_rows, reader_of
from mmst_cli.sources.tables import load_stream

if TYPE_CHECKING:
    from datasets import Dataset

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CheckedSet:
    """Rows that are examined: those of a dataset, or of layout beir its queries or its corpus."""

    name: str
    """That of the dataset; `eval/queries` and `eval/corpus` of layout beir."""
    section: DatasetConfig
    rows: RowSet

    @property
    def is_training(self) -> bool:
        """Whether a model is trained on it."""
        return self.section.use is Use.train

    @property
    def inputs(self) -> list[Column]:
        """The columns that are embedded: all but labels."""
        return self.rows.inputs


def open_sets(config: Config, *, stream_rows: int | None) -> tuple[dict[str, Rows], list[CheckedSet]]:
    """Open every dataset.

    Args:
        config: the config.
        stream_rows: how many rows of a stream are examined, its first; None where all are asked for.

    Returns:
        Dataset name to what it holds, and the sets to look at.

    Raises:
        ConfigError: a declared column isn't there, or all rows of a stream are asked for.
        DataError: rows can't be loaded, or their stored types can't be what is declared.
    """
    found: dict[str, Rows] = {}
    sets: list[CheckedSet] = []
    seed = config.seed
    for key, section in config.datasets.items():
        if section.layout is Layout.beir:
            judged = prepare_judgements(key, section, seed, config.media, look=False)
            found[key] = judged
            sets += _sets_of(key, section, judged)
            continue
        if section.streaming:
            rows = _first_of_stream(config, key, section, seed, stream_rows)
        else:
            rows = open_rows(key, section, seed, config.media)
        found[key] = rows
        sets.append(CheckedSet(key, section, rows))
    return found, sets


def _sets_of(key: str, section: DatasetConfig, judged: RetrievalSet) -> list[CheckedSet]:
    tables = {"queries": judged.query_rows, "corpus": judged.corpus_rows}
    return [CheckedSet(f"{key}/{table}", section, rows) for table, rows in tables.items()]


def _first_of_stream(config: Config, key: str, section: DatasetConfig, seed: int, count: int | None) -> RowSet:
    if count is None:
        raise ConfigError(
            f"datasets.{key}.streaming: a stream is read while training and only its first rows are looked at. Leave"
            " out --all, or read the rows without streaming: datasets."
            f"{key}.streaming=false."
        )
    stream = load_stream(key, section, seed)
    rows = number_rows(key, _to_dataset(key, list(islice(stream, count)), stream.features))
    columns = declare_columns(key, section.columns, rows.column_names)
    return keep_columns(key, rows, columns, reader_of(section, config.media))


def _to_dataset(key: str, rows: list[dict[str, object]], features: object) -> Dataset:
    from datasets import Dataset

    if not rows:
        raise DataError(f"datasets.{key}.path: the stream holds no rows.")
    return Dataset.from_list(rows, features=features)


@dataclass(frozen=True)
class DistinctContents:
    """The different contents in all cells, numbered by where they come first."""

    of: dict[tuple[int, int], Numbers]
    """Set and column to the content of each row."""
    first: Numbers
    """Content to the set, column and row where it comes first, shape (contents, 3)."""
    digest: str
    """Names what all cells hold, to notice that data have changed."""


def distinct_contents(sets: Sequence[CheckedSet]) -> DistinctContents:
    """Number the contents of all input cells. Media are told apart as in duplicate-free batches."""
    keys: list[npt.NDArray[np.uint64]] = []
    places: list[tuple[int, int]] = []
    for number, checked in enumerate(sets):
        for index, column in enumerate(checked.inputs):
            kind = "+".join(column.modalities).encode()
            found = (key.encode("utf-8", "surrogatepass") for key in column_keys(checked.rows, column))
            keys.append(np.fromiter((xxhash.xxh3_64_intdigest(kind + b" " + key) for key in found), dtype=np.uint64))
            places.append((number, index))
    together = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    _, first, inverse = np.unique(together, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by where they come first, not by their hash
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    numbered = rank[inverse]
    bounds = np.cumsum([0, *(len(key) for key in keys)])
    of = {place: numbered[bounds[i] : bounds[i + 1]] for i, place in enumerate(places)}
    name = xxhash.xxh3_128_hexdigest(together.tobytes())
    return DistinctContents(of, _where(first[order], bounds, places), name)


def _where(cells: Numbers, bounds: Numbers, places: Sequence[tuple[int, int]]) -> Numbers:
    column = np.searchsorted(bounds, cells, side="right") - 1
    where = np.array(places, dtype=np.int64).reshape(-1, 2)[column]
    return np.concatenate([where, (cells - bounds[column])[:, None]], axis=1)
