"""A few real inputs of every kind that a run uses, to see by whether two models are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from mmst_cli.config.schema import Role
from mmst_cli.errors import DataError
from mmst_cli.media.message import clip_options
from mmst_cli.model.prompts import TASKS
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.rows.columns import Column, RowSet, as_input, place
from mmst_cli.vectors.batches import decoded_bytes
from mmst_cli.vectors.prepared_batches import kind_of

PER_COLUMN, PER_KIND = 2, 4  # inputs
TRIED = 8  # rows of a column, where the first ones can't be read
MOST_BYTES = 64 * 2**20  # decoded inputs of one kind, the first of them aside

ProbeInput = dict[str, Any]
"""``value``; ``side``, query or document, or None where only the processor's work is looked at; ``kind``, its
modalities; ``place``, where it comes from; ``options`` of encoding."""


def draw_probe(rows: Mapping[str, Rows]) -> list[ProbeInput]:
    """Draw a few inputs of every side and modality from the beginning and the middle of the rows, by no chance.

    Args:
        rows: dataset to its rows; those that can't be read are passed over.
    """
    found: list[ProbeInput] = []
    counts: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    for item in _inputs(rows, counts):
        kind, size = (item["side"], item["kind"]), decoded_bytes(item["value"])
        if counts[kind] < PER_KIND and (not counts[kind] or sizes[kind] + size <= MOST_BYTES):
            counts[kind] += 1
            sizes[kind] += size
            found.append(item)
    return found


def _inputs(rows: Mapping[str, Rows], counts: Mapping[tuple[str, str], int]) -> Iterator[ProbeInput]:
    for key, data in rows.items():
        for rows_of, column in _columns(data):
            side = TASKS[column.role]
            if counts.get((side, str(column.modality)), 0) >= PER_KIND:
                continue
            for number, value in islice(_readable(rows_of, column), PER_COLUMN):
                value = _as_given(value, column)
                chat = clip_options([value])
                yield {
                    "value": value,
                    "side": side,
                    "kind": _in_words(kind_of(value)),
                    "place": place(key, number, column.name),
                    "options": {"processing_kwargs": chat} if chat else {},
                }


def _columns(data: Rows) -> list[tuple[RowSet, Column]]:
    """Return the columns that are embedded, each with the rows it is read of."""
    if isinstance(data, RowSet):
        return [(data, column) for column in data.columns if column.role is not Role.label]
    return [(data.query_rows, data.anchor), *((data.corpus_rows, column) for column in data.documents)]


def _as_given(value: Any, column: Column) -> Any:
    """Return an input as a user gives it: a text as a string, where that can't be taken for a path or an address."""
    if isinstance(value, str) and kind_of(value) == "text":
        return value  # which all models take; static embeddings take nothing else
    return as_input(value, column.modality)


def _readable(rows: RowSet, column: Column) -> Iterator[tuple[int | None, Any]]:
    """Yield (row, value) of rows that can be read, the first ones and those in the middle by turns."""
    narrow = rows.narrow(column)
    drawn: Iterator[Any]
    if rows.is_stream:
        drawn = islice(narrow.rows, TRIED)
    else:
        half = (len(rows) + 1) // 2
        numbers = [row for first in range(half) for row in (first, first + half) if row < len(rows)]
        drawn = (narrow.rows[row] for row in numbers[:TRIED])
    for row in drawn:
        try:
            yield row.get(column.origin[0]), narrow.read_column(column, narrow.find(row, column.origin))
        except DataError:  # whoever draws it says so
            continue


def _in_words(kind: Any) -> str:
    return kind if isinstance(kind, str) else "+".join(kind)
