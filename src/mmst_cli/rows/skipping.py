"""Rows that can't be read, left out: of a training set as they are drawn, of what an evaluator reads beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import xxhash

from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import DataError
from mmst_cli.rows.bad_rows import BadRow, BadRows
from mmst_cli.rows.columns import ROW, Column, RowSet, as_input
from mmst_cli.rows.labels import rows_of_other_lengths
from mmst_cli.rows.media_checks import find_broken
from mmst_cli.rows.row_checks import SAMPLE, empty_rows, media_and_texts, rows_drawn_of, sample_rows
from mmst_cli.rows.stored_cells import rows_with_empty_entries, rows_with_unusable_labels
from mmst_cli.terminal import Terminal

Refused = Callable[[Column, Iterable[Any]], Mapping[int, str]]


def try_read(rows: RowSet, row: Mapping[str, Any]) -> dict[str, Any] | BadRow:
    """Return a drawn row as :meth:`RowSet.read` does, or what is broken about it."""
    values: dict[str, Any] = {}
    try:
        for name, value in rows.read_each(row):
            values[name] = value
    except DataError as error:
        return bad_row(rows, rows.columns[len(values)], row, error)
    return values


def look_at_rows(rows: RowSet, seed: int, bad_rows: BadRows) -> None:
    """Look as :func:`mmst_cli.rows.row_checks.check_inputs` does, and note all that is broken instead of the first.

    What looks broken is read and a sample of the rest, so that more may turn up while the rows are drawn.

    Raises:
        DataError: there is more than may be left out.
    """
    for bad in _look(rows, seed):
        bad_rows.add(bad)


def look_at_stream(rows: RowSet, bad_rows: BadRows) -> None:
    """Read the first rows of a stream, and note what is broken.

    Raises:
        DataError: there is more than may be left out.
    """
    for row in islice(iter(rows.rows), SAMPLE):
        if isinstance(found := try_read(rows, row), BadRow):
            bad_rows.add(found)


def drop_bad_rows(rows: RowSet, bad_rows: BadRows) -> RowSet:
    """Read every row once, and return those that can be read; the others are noted and gone.

    Raises:
        DataError: there is more than may be left out, or no row is left.
    """
    whole = []
    for place, row in enumerate(_watched(rows, bad_rows.terminal)):
        if isinstance(found := try_read(rows, row), BadRow):
            bad_rows.add(found)
        else:
            whole.append(place)
    if not whole:
        raise DataError(f"datasets.{rows.key}: none of its rows can be read. Mend them.")
    if bad_rows.terminal is not None:
        bad_rows.terminal.say(f"data: {rows.key}: of {len(rows):,} rows {len(whole):,} can be read")
    return rows if len(whole) == len(rows) else replace(rows, rows=rows.rows.select(whole))


def drop_refused_rows(rows: RowSet, refused_of: Refused, bad_rows: BadRows) -> RowSet:
    """Return the rows whose inputs a model's processor takes; the others are noted and gone.

    Args:
        rows: rows that can be read.
        refused_of: which of a column's inputs the processor refuses, and why.
        bad_rows: takes those that are left out.

    Raises:
        DataError: there is more than may be left out, or no row is left.
    """
    refused: dict[int, None] = {}
    for column in rows.columns:
        if column.role is Role.label:
            continue
        inputs = (as_input(value, column.modality) for value in rows.values(column))
        for index, reason in refused_of(column, inputs).items():
            if index not in refused:
                bad_rows.add(bad_row(rows, column, rows.rows[index], DataError(reason)))
            refused[index] = None
    if len(refused) == len(rows):
        raise DataError(f"datasets.{rows.key}: the model's processor takes none of its rows.")
    if not refused:
        return rows
    return replace(rows, rows=rows.rows.select([index for index in range(len(rows)) if index not in refused]))


def _watched(rows: RowSet, terminal: Terminal | None) -> Iterator[Any]:
    if terminal is None:
        yield from rows.rows
        return
    with terminal.progress(f"reading {rows.key}", len(rows), unit="rows") as progress:
        for row in rows.rows:
            yield row
            progress.advance()


def _look(rows: RowSet, seed: int) -> Iterator[BadRow]:
    sample = set(sample_rows(len(rows), seed))
    looked_at: dict[tuple[Modality, str], set[int]] = {}
    broken: set[int] = set()
    for column in rows.columns:
        suspects = rows_drawn_of(rows, _suspects(rows, column, looked_at))
        if column.role is not Role.label and column.modalities != (Modality.text,):
            suspects = suspects | sample
        for index in sorted(suspects - broken):
            try:
                rows.value_at(column, index)
            except DataError as error:
                broken.add(index)
                yield bad_row(rows, column, rows.rows[index], error)


def _suspects(rows: RowSet, column: Column, looked_at: dict[tuple[Modality, str], set[int]]) -> set[int]:
    """Return the stored rows in which nothing is there, or media that look broken."""
    empty = [empty_rows(rows.source, name) for name in column.sources]
    suspects = set() if column.message else set.intersection(*empty)
    if column.entry is not None or rows.holds_several(column):
        suspects |= rows_with_empty_entries(rows.source, column.sources[0], (column.entry or 0) + 1)
    if column.role is Role.label:
        suspects |= rows_with_unusable_labels(rows.source, column.sources[0]) | rows_of_other_lengths(rows, column)
    for modality, source in media_and_texts(column):
        if (modality, source) not in looked_at:
            looked_at[modality, source] = find_broken(rows, source, modality)
        suspects |= looked_at[modality, source]
    return suspects


def bad_row(rows: RowSet, column: Column, row: Mapping[str, Any], error: DataError) -> BadRow:
    """Return what is broken about a drawn row: why its input in this column can't be read, or be processed."""
    found = rows.find(row, column.origin)
    number = found.get(ROW)
    several = rows.holds_several(column)
    return BadRow(
        rows.key,
        number,
        column.name,
        str(error.__cause__ or error),  # without the place, which is said beside it
        entry=row[column.origin[1]] if several else None,
        content=_digest(rows, row) if number is None else None,
    )


def _digest(rows: RowSet, row: Mapping[str, Any]) -> str:
    stored = [row[source] for column in rows.columns for source in column.sources]
    return xxhash.xxh3_64(repr(stored).encode("utf-8", "surrogatepass")).hexdigest()
