"""Lists of negatives of which some rows have too few, filled up: from their own, or from what other rows hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.config.schema import ColumnConfig, Fill, OnBadRow, Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.rows.columns import ENTRY, ROW, Column, Filled, RowSet
from mmst_cli.rows.drawn_negatives import Pool
from mmst_cli.rows.shapes import Numbers, drawn_from, entries_of, other_origins, own_origin
from mmst_cli.rows.stored_cells import column_chunks, list_lengths, place_of


def fill_negatives(rows: RowSet, declared: Mapping[str, ColumnConfig], seed: int) -> RowSet:
    """Return rows in which every list of negatives that says `fill` has as many as its `take`.

    Nothing is copied or decoded. Where mining fills, a row's own negatives, or its positive, stand in until then.

    Args:
        rows: rows whose lists are opened, of which entries may be missing.
        declared: the ``columns`` section.
        seed: of the draws.

    Raises:
        ConfigError: positives can't stand where the negatives do.
        DataError: there is nothing to fill a row with.
    """
    for name, config in declared.items():
        if config.fill is not None:
            rows = _fill(rows, name, config.fill, seed)
    return rows


def _fill(rows: RowSet, name: str, fill: Fill, seed: int) -> RowSet:
    columns = [column for column in rows.columns if column.sources == (name,) and column.role is Role.negative]
    if not columns or columns[0].entry is None:
        raise ConfigError(f"datasets.{rows.key}.columns.{name}.fill: the cells are no lists. Leave it out.")
    places = drawn_from(rows)[0]
    lengths = _lengths(rows, name)[places]
    wanted = np.arange(len(columns))[None, :]
    missing = wanted >= lengths[:, None]
    if not missing.any():
        return rows
    positive = _positive_beside(rows, columns[0], fill)
    which = np.repeat(places[:, None], len(columns), axis=1)
    what = np.broadcast_to(wanted, missing.shape).copy()
    own = missing & (lengths > 0)[:, None]
    what[own] = (wanted % np.maximum(lengths, 1)[:, None])[own]
    if fill is Fill.sample:
        pool = Pool(rows, columns, positive, lengths)
        which[missing], what[missing] = pool.draw(missing, np.random.default_rng(seed))
    elif (none := np.flatnonzero(lengths == 0)).size:
        if fill is Fill.repeat and rows.on_bad_row is OnBadRow.error:
            at = place_of(rows, int(places[none[0]]), name)
            raise DataError(f"{at}: no negative, so there is none to repeat. Set fill: sample, or remove the row.")
        if fill is Fill.mine:  # its own positive, which mining takes for no negative
            what[none] = -1 - entries_of(rows, positive)[none][:, None]
    return _with_origins(rows, Filled(name, fill, positive), columns, which, what)


def _with_origins(rows: RowSet, filled: Filled, columns: list[Column], which: Numbers, what: Numbers) -> RowSet:
    """Return rows that say of each negative which stored row it is read from, and what of it."""
    from datasets import Dataset

    places, entries = drawn_from(rows)
    drawn: dict[str, Any] = {ROW: places, ENTRY: entries, **other_origins(rows)}
    turned: dict[str, Column] = {}
    for number, column in enumerate(columns):
        origin = own_origin(column.name)
        drawn |= {origin[0]: which[:, number], origin[1]: what[:, number]}
        sources = (filled.name,) if filled.positive is None else (filled.name, filled.positive)
        turned[column.name] = replace(column, sources=sources, entry=None, origin=origin, filled=filled)
    return replace(
        rows,
        rows=Dataset.from_dict(drawn),
        stored=rows.source,
        columns=tuple(turned.get(column.name, column) for column in rows.columns),
    )


def missing_places(rows: RowSet, filled: Filled, columns: list[Column]) -> npt.NDArray[np.bool_]:
    """Return which negatives of a filled list were missing in the row itself, shape (rows, columns)."""
    lengths = _lengths(rows, filled.name)[drawn_from(rows)[0]]
    found: npt.NDArray[np.bool_] = np.arange(len(columns))[None, :] >= lengths[:, None]
    return found


def put_mined(rows: RowSet, kept: Numbers, negatives: Numbers, left_out: Numbers | None = None) -> RowSet:
    """Return rows with the positives of others where negatives were missing; rows for which none were found are gone.

    Args:
        rows: rows with a list that mining fills.
        kept: the rows for which negatives were mined, shape (kept,).
        negatives: the rows whose positives these are, shape (kept, negatives).
        left_out: rows that go whatever they have, shape (left out,).
    """
    places = drawn_from(rows)[0]
    mined_for = np.full(len(rows), -1, dtype=np.int64)
    mined_for[kept] = np.arange(len(kept))
    whole = np.ones(len(rows), dtype=bool)
    if left_out is not None:
        whole[left_out] = False
    for filled, columns in filled_lists(rows, Fill.mine).items():
        missing, origins = missing_places(rows, filled, columns), other_origins(rows)
        which, what = (np.stack([origins[column.origin[end]] for column in columns], axis=1) for end in (0, 1))
        whole &= ~missing.any(axis=1) | (mined_for >= 0)
        order = np.cumsum(missing, axis=1) - 1
        row, column = np.nonzero(missing & (mined_for >= 0)[:, None])
        documents = negatives[mined_for[row], order[row, column]]
        entries = entries_of(rows, filled.positive)
        which[row, column], what[row, column] = places[documents], -1 - entries[documents]
        rows = _with_origins(rows, filled, columns, which, what)
    return rows if whole.all() else replace(rows, rows=rows.rows.select(np.flatnonzero(whole)))


def filled_lists(rows: RowSet, how: Fill | None = None) -> dict[Filled, list[Column]]:
    """Return the columns of each list that is filled up, in one way or in any, where any row lacks some."""
    found: dict[Filled, list[Column]] = {}
    for column in rows.columns:
        if column.filled is not None and how in (None, column.filled.how):
            found.setdefault(column.filled, []).append(column)
    return found


def filled_in_words(rows: RowSet) -> list[str]:
    """Return of each list that is filled up how many of the negatives that the rows have were missing."""
    told = []
    for filled, columns in filled_lists(rows).items():
        missing = missing_places(rows, filled, columns)
        told.append(f"{int(missing.sum()):,} of {missing.size:,} in {filled.name} filled ({filled.how})")
    return told


def _lengths(rows: RowSet, name: str) -> Numbers:
    """Return the length of each stored row's list, 0 where there is none."""
    return np.concatenate([list_lengths(chunk) for _, chunk in column_chunks(rows.source, name)])


def _positive_beside(rows: RowSet, negative: Column, fill: Fill) -> str | None:
    """Return the stored column of positives that can stand where these negatives do; None for none."""
    for column in rows.with_role(Role.positive):
        if column.modality is negative.modality and not column.parts and not column.message:
            return column.sources[0]
    if fill is Fill.mine:
        raise ConfigError(
            f"datasets.{rows.key}.columns.{negative.sources[0]}.fill: mine takes positives of other rows, and no"
            f" positive column holds {negative.modality} in cells of its own. Set fill: sample."
        )
    return None
