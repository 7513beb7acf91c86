"""Negatives that are other rows of the same set: said by number, copied nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.config.rules_mining import negative_names
from mmst_cli.config.schema import Role
from mmst_cli.rows.columns import ENTRY, ROW, Column, RowSet

Numbers = npt.NDArray[np.int64]


def add_negatives(rows: RowSet, kept: Numbers, negatives: Numbers) -> RowSet:
    """Return some of the rows, each with the positives of others as its negatives.

    Args:
        rows: rows with one positive column.
        kept: which of the rows, shape (kept,).
        negatives: the rows whose positives are the negatives of each, shape (kept, negatives).
    """
    from datasets import Dataset

    stored = rows.rows if rows.stored is None else rows.stored
    places, entries = drawn_from(rows)
    names = negative_names([column.name for column in rows.columns], negatives.shape[1])
    positive = rows.with_role(Role.positive)[0]
    drawn: dict[str, Any] = {ROW: places[kept], ENTRY: entries[kept]}
    columns: list[Column] = []
    for name, numbers in zip(names, negatives.T, strict=True):
        origin = (f"__{name}__", f"__{name}_entry__")
        drawn |= {origin[0]: places[numbers], origin[1]: entries[numbers]}
        columns.append(replace(positive, name=name, role=Role.negative, origin=origin))
    return replace(rows, rows=Dataset.from_dict(drawn), stored=stored, columns=(*rows.columns, *columns))


def drawn_from(rows: RowSet) -> tuple[Numbers, Numbers]:
    """Return the stored row that each drawn one means, and which entry of it: shape (rows,) both."""
    if rows.stored is None:
        return np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    return tuple(_numbers(rows.rows[name]) for name in (ROW, ENTRY))  # type: ignore[return-value]


def _numbers(values: Sequence[int]) -> Numbers:
    return np.array(list(values), dtype=np.int64)
