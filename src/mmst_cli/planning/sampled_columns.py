"""A sample of the rows that are trained and evaluated on, through the real reader and processor, column by column."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.image import read_small_image
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.model.model_parts import encoders_of
from mmst_cli.model.seen_media import pixels_of, token_counts
from mmst_cli.model.text_cutting import NO_LIMIT, lost_tokens
from mmst_cli.rows.columns import Column, RowSet, as_input
from mmst_cli.sources.tables import choose_indices
from mmst_cli.vectors.data_workers import one_thread
from mmst_cli.vectors.prepared_batches import feature_bytes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Prepare = Callable[[Sequence[Any]], Mapping[str, Any]]
TOGETHER = 8
"""Inputs that are given to the processor at once to time it."""
MEDIA = 16
"""Inputs of a column that are looked at at most where they aren't texts; half as many where they are evaluated."""
LEVELS = {"min": 0.0, "p5": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}


@dataclass(frozen=True)
class InputColumn:
    """A column of inputs and what makes features of them."""

    rows: RowSet
    column: Column
    prepare: Prepare
    """As training, or evaluation, has it: with the prompt and the route of its role."""
    evaluated: bool
    """Whether an evaluator reads it; else the loss does."""


@dataclass(frozen=True)
class SampledColumn:
    """What a sample of a column was seen to take."""

    dataset: str
    column: str
    role: str
    modality: str
    evaluated: bool
    looked_at: int
    refused: int
    """Inputs that can't be read, or that the processor refuses."""
    tokens: dict[str, float] | None
    """Quantiles, the prompt included; None where inputs don't become tokens."""
    mean_tokens: float | None
    limit: int | None
    """Tokens of an input at most; None where the model has no such limit."""
    cut: int
    """Inputs of the sample that lose tokens to it."""
    pixels: dict[str, float] | None
    """Quantiles of width x height, as images are stored."""
    pixels_seen: dict[str, float] | None
    """Quantiles of what the processor leaves of them."""
    read_ms: float
    """Milliseconds to read and decode an input, on one processor, in the mean."""
    process_ms: float
    """Milliseconds that the processor takes for each of a few inputs that it is given together, likewise."""
    feature_bytes: float
    """Of an input's features, in the mean."""
    widest: tuple[int, ...] = ()
    """Places of the sample's rows with the most tokens, the most first."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {name: value for name, value in vars(self).items() if name != "widest"}


def sample_column(model: SentenceTransformer, asked: InputColumn, count: int, seed: int) -> SampledColumn:
    """Return what a seeded sample of a column takes; of a stream its first rows.

    Args:
        model: the model, with or without weights.
        asked: the column.
        count: rows to look at; of media 16 at most.
        seed: of the choice.

    Raises:
        DataError: not a single row of the sample can be read.
    """
    encoder = (encoders_of(model, asked.column.modality) or [model[0]])[0]
    limit = getattr(encoder, "max_seq_length", None)
    limit = None if limit is None or limit >= NO_LIMIT else int(limit)
    seen: list[_Seen] = []
    first: list[Any] = []
    refused: list[str] = []
    with one_thread():
        at_most = count if asked.column.modality is Modality.text else min(count, MEDIA // (1 + asked.evaluated))
        for place, row in _some_rows(asked.rows, at_most, seed):
            try:
                if not seen:  # what is loaded at first use is no cost of a row
                    _see(encoder, asked, place, row)
                value, one = _see(encoder, asked, place, row)
                seen.append(one)
                first += [value] if len(first) < TOGETHER else []
            except Exception as error:
                if not isinstance(error, DataError) and not concerns_input(error):
                    raise
                refused.append(str(error))
        together = _process_together(asked, first)
    if not seen:
        why = refused[0] if refused else "it has no rows."
        raise DataError(
            f"datasets.{asked.rows.key}, column {asked.column.name}: no input of the sample can be read: {why}"
        )
    return _summed_up(asked, seen, len(refused), limit, together)


def read_inputs(asked: InputColumn, places: Sequence[int]) -> list[Any]:
    """Return the inputs of a column at some places of its rows, read."""
    if asked.rows.is_stream:
        wanted = set(places)
        rows = [row for place, row in enumerate(islice(iter(asked.rows.rows), max(wanted) + 1)) if place in wanted]
    else:
        rows = [asked.rows.rows[place] for place in places]
    return [_read(asked, row) for row in rows]


@dataclass(frozen=True)
class _Seen:
    place: int
    read: float
    tokens: float | None
    lost: bool
    size: int
    pixels: tuple[int, int] | None


def _some_rows(rows: RowSet, count: int, seed: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if rows.is_stream:
        yield from enumerate(islice(iter(rows.rows), count))
        return
    for place in choose_indices(len(rows), count, seed):
        yield place, rows.rows[place]


def _read(asked: InputColumn, row: Mapping[str, Any]) -> Any:
    rows, column = asked.rows, asked.column
    return as_input(rows.read_column(column, rows.find(row, column.origin)), column.modality)


def _see(encoder: Any, asked: InputColumn, place: int, row: Mapping[str, Any]) -> tuple[Any, _Seen]:
    begun = time.perf_counter()
    value = _read(asked, row)
    read = time.perf_counter() - begun
    features = asked.prepare([value])
    counts = token_counts(features, 1)
    tokens = None if counts is None else float(counts[0])
    lost = lost_tokens(encoder, tokens, lambda: token_counts(asked.prepare([value]), 1)) > 0
    pixels = _pixels(encoder, asked, row, features)
    return value, _Seen(place, read, tokens, lost, feature_bytes(features), pixels)


def _process_together(asked: InputColumn, inputs: list[Any]) -> float:
    """Return the seconds that the processor takes for each of some inputs that it is given together, as in a batch."""
    if not inputs:
        return 0.0
    asked.prepare(inputs)  # what is loaded at first use for several
    begun = time.perf_counter()
    asked.prepare(inputs)
    return (time.perf_counter() - begun) / len(inputs)


def _pixels(
    encoder: Any, asked: InputColumn, row: Mapping[str, Any], features: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Return the pixels of an image as it is stored, and as the processor leaves it; None of other inputs."""
    rows, column = asked.rows, asked.column
    if column.modality is not Modality.image or column.parts or column.message:
        return None
    cell = column.cells(rows.completed(column, rows.find(row, column.origin)))[column.sources[0]]
    # Training scales large images as it reads them, so that those in its hands tell nothing of what is stored.
    width, height = read_small_image(rows.reader.locate(cell), 1, dpi=rows.reader.settings.dpi)[1]
    return width * height, pixels_of(encoder, features)


def _summed_up(
    asked: InputColumn,
    seen: Sequence[_Seen],
    refused: int,
    limit: int | None,
    process: float,
) -> SampledColumn:
    tokens = [one.tokens for one in seen if one.tokens is not None]
    pixels = [one.pixels for one in seen if one.pixels is not None]
    widest = sorted(seen, key=lambda one: (one.tokens or 0, one.size), reverse=True)
    return SampledColumn(
        dataset=asked.rows.key,
        column=asked.column.name,
        role=str(asked.column.role),
        modality="+".join(asked.column.modalities),
        evaluated=asked.evaluated,
        looked_at=len(seen) + refused,
        refused=refused,
        tokens=quantiles(tokens) if len(tokens) == len(seen) else None,
        mean_tokens=float(np.mean(tokens)) if len(tokens) == len(seen) else None,
        limit=limit,
        cut=sum(one.lost for one in seen),
        pixels=quantiles([before for before, _ in pixels]) if pixels else None,
        pixels_seen=quantiles([after for _, after in pixels]) if pixels else None,
        read_ms=1000 * float(np.mean([one.read for one in seen])),
        process_ms=1000 * process,
        feature_bytes=float(np.mean([one.size for one in seen])),
        widest=tuple(one.place for one in widest),
    )


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return least, 5%, median, 95% and largest of some values."""
    return {name: float(np.quantile(values, level)) for name, level in LEVELS.items()}
