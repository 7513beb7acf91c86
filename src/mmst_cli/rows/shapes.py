"""Cells that are several inputs: lists of positives and pages of documents become rows, lists of negatives columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.config.rules_mining import negative_names
from mmst_cli.config.schema import ColumnConfig, Modality, OnBadRow, Role
from mmst_cli.errors import ColumnError, ConfigError, DataError
from mmst_cli.media.pdf import names_pdf, page_numbers, split_page
from mmst_cli.rows.cells import holds_lists
from mmst_cli.rows.columns import ENTRY, ROW, Column, RowSet
from mmst_cli.rows.stored_cells import column_chunks, empty_cells, empty_entries, list_lengths, named_files, place_of

Entries = list[int]
"""The entries of one cell that are used: places in a list from 0, or pages from 1."""
ONE_INPUT: Entries = [0]
Numbers = npt.NDArray[np.int64]


def open_lists(rows: RowSet, declared: Mapping[str, ColumnConfig]) -> RowSet:
    """Return rows whose every input is one input.

    A list of positives, or a document of several pages, becomes as many rows with the same anchor; a list of
    negatives becomes as many columns. Nothing is copied or decoded.

    Args:
        rows: the rows, with the declared columns.
        declared: the ``columns`` section, for ``pages`` and ``take``.

    Raises:
        ConfigError: an anchor is a list, two columns would both become rows, or there is nothing to take from.
        DataError: lists of negatives differ in length, or a cell is no document; the message names the row.
    """
    several: dict[str, list[Entries]] = {}
    columns: list[Column] = []
    for column in rows.columns:
        config = declared[column.name]
        at = f"datasets.{rows.key}.columns.{column.name}"
        if has_lists(rows, column):
            if config.pages is not None:
                raise ConfigError(f"{at}.pages: the cells are lists. Name the pages in them, as in file.pdf#1.")
            opened, entries = _open_list(rows, column, config)
        else:
            if config.take is not None and column.role is not Role.label:
                raise ConfigError(f"{at}.take: the cells are no lists, so there is nothing to take from. Leave it out.")
            opened, entries = [column], _pages(rows, column, config.pages)
        columns += opened
        if entries is not None:
            several[column.name] = entries
    return _multiply(replace(rows, columns=tuple(columns)), several)


def has_lists(rows: RowSet, column: Column) -> bool:
    """Say whether the cells of a column are lists of inputs."""
    if column.parts or column.message or column.role is Role.label:
        return False
    return holds_lists(rows.rows.features[column.sources[0]], column.modality)


def _open_list(rows: RowSet, column: Column, config: ColumnConfig) -> tuple[list[Column], list[Entries] | None]:
    """Return the columns that a column of lists becomes, or the entries by row.

    Where broken rows are left out, an empty list stands for one input that isn't there.
    """
    if column.role is Role.anchor:
        raise ConfigError(
            f"datasets.{rows.key}.columns.{column.name}: the cells are lists, and an anchor is one input."
            " Give it another role."
        )
    take = config.take
    if config.fill is not None and config.take is not None:  # what is missing is found later
        _lengths(rows, column, take, may_be_empty=True)
        return [replace(column, name=f"{column.name}_{entry}", entry=entry) for entry in range(config.take)], None
    lengths = _lengths(rows, column, take)
    if column.role is Role.negative:
        return _split(rows, column, lengths, take), None
    if rows.on_bad_row is OnBadRow.skip:
        lengths = [max(1, length) for length in lengths]
    if 0 in lengths:
        raise DataError(f"{place_of(rows, lengths.index(0), column.name)}: an empty list. Fill it, or remove the row.")
    return [column], [list(range(min(length, take or length))) for length in lengths]


def _lengths(rows: RowSet, column: Column, take: int | None, *, may_be_empty: bool = False) -> list[int]:
    """Return the lengths of lists, after checking that they and the entries in use are there, if they have to be."""
    found: list[int] = []
    for start, chunk in column_chunks(rows.rows, column.sources[0]):
        found += list_lengths(chunk).tolist()
        if rows.on_bad_row is OnBadRow.skip:
            continue
        for index in () if may_be_empty else empty_cells(chunk):
            raise DataError(f"{place_of(rows, start + index, column.name)}: nothing there. Remove the row, or fill it.")
        for index, entry in empty_entries(chunk):
            if take is None or entry < take:
                at = f"{place_of(rows, start + index, column.name)}, entry {entry}"
                raise DataError(f"{at}: nothing there. Take it out of the list, or fill it.")
    return found


def _split(rows: RowSet, column: Column, lengths: list[int], take: int | None) -> list[Column]:
    """Return one column for each entry of lists of the same length; those that are too short may be left out."""
    least = take or 1
    lists = [length for length in lengths if length >= least or rows.on_bad_row is OnBadRow.error] or lengths
    shortest, longest = min(lists), max(lists)
    if (take is None and shortest != longest) or shortest < least:
        wanted = f"take is {take}" if take else f"others have {longest}"
        advice = "Fill it, or remove the row." if shortest == 0 else f"Set take: {shortest} to use so many of each."
        at = place_of(rows, lengths.index(shortest), column.name)
        fill = " In training fill: sample, repeat or mine (with take) finds the missing ones."
        raise DataError(f"{at}: a list of {shortest} negatives, and {wanted}. {advice}{fill}")
    return [replace(column, name=f"{column.name}_{entry}", entry=entry) for entry in range(take or shortest)]


def _pages(rows: RowSet, column: Column, wanted: Any) -> list[Entries] | None:
    """Return the pages of each cell, 0 for a cell that is one image; None where no cell is a whole document."""
    if column.modality is not Modality.image:
        return None
    found: dict[int, Entries] = {}
    known: dict[str, Entries] = {}
    documents = [(row, path) for row, path in named_files(rows.rows, column.sources[0]) if names_pdf(path)]
    for row, path in documents:
        try:
            located = rows.reader.locate(path)
            file, page = split_page(located)
            if page is not None:
                page_numbers(file, [page])  # is it there?
                continue
            known[path] = found[row] = known.get(path) or page_numbers(located, wanted)
        except DataError as error:
            if rows.on_bad_row is OnBadRow.error:
                raise DataError(f"{place_of(rows, row, column.name)}: {error}") from error
            if isinstance(wanted, list) and split_page(path)[1] is None:
                found[row] = list(wanted)  # reading these says why
            continue
        if column.role is Role.anchor and len(found[row]) > 1:
            raise ColumnError(
                f"{place_of(rows, row, column.name)}: {path} has {len(found[row])} pages, and an anchor is one input."
                " Set pages: first, or name one, as in file.pdf#1."
            )
    if wanted is not None and not documents:
        at = f"datasets.{rows.key}.columns.{column.name}.pages"
        raise ConfigError(f"{at}: no cell names a PDF file, so there are no pages. Leave it out.")
    return [found.get(row, ONE_INPUT) for row in range(len(rows))] if found else None


def _multiply(rows: RowSet, several: dict[str, list[Entries]]) -> RowSet:
    """Return rows that say which entry of which stored row is meant."""
    if not several:
        return rows
    if len(several) > 1:
        raise ConfigError(
            f"datasets.{rows.key}.columns: {' and '.join(several)} both hold lists or pages, so it is not clear which"
            " goes with which. Keep one of them."
        )
    from datasets import Dataset

    listed, entries = next(iter(several.items()))
    drawn: dict[str, list[Any]] = {
        ROW: [row for row, used in enumerate(entries) for _ in used],
        ENTRY: [entry for used in entries for entry in used],
    }
    for label in rows.with_role(Role.label):
        values = list(rows.rows[label.sources[0]])
        drawn[label.sources[0]] = [values[row] for row in drawn[ROW]]
    return replace(rows, rows=Dataset.from_dict(drawn), stored=rows.rows, listed=listed)


def add_negatives(rows: RowSet, kept: Numbers, negatives: Numbers) -> RowSet:
    """Return some of the rows, each with the positives of others as its negatives.

    Args:
        rows: rows with one positive column.
        kept: which of the rows, shape (kept,).
        negatives: the rows whose positives are the negatives of each, shape (kept, negatives).
    """
    from datasets import Dataset

    places, entries = drawn_from(rows)
    names = negative_names([column.name for column in rows.columns], negatives.shape[1])
    positive = rows.with_role(Role.positive)[0]
    drawn: dict[str, Any] = {ROW: places[kept], ENTRY: entries[kept]}
    drawn |= {name: origins[kept] for name, origins in other_origins(rows).items()}
    columns: list[Column] = []
    for name, numbers in zip(names, negatives.T, strict=True):
        origin = own_origin(name)
        drawn |= {origin[0]: places[numbers], origin[1]: entries[numbers]}
        columns.append(replace(positive, name=name, role=Role.negative, origin=origin))
    return replace(rows, rows=Dataset.from_dict(drawn), stored=rows.source, columns=(*rows.columns, *columns))


def own_origin(name: str) -> tuple[str, str]:
    """Return the drawn columns that say where a column of negatives is read from, as ``Column.origin`` has them."""
    return f"__{name}__", f"__{name}_entry__"


def other_origins(rows: RowSet) -> dict[str, Numbers]:
    """Return the drawn columns that say where negatives are read from that aren't the row's own."""
    names = [name for column in rows.columns if column.origin != (ROW, ENTRY) for name in column.origin]
    return {name: np.array(list(rows.rows[name]), dtype=np.int64) for name in names}


def entries_of(rows: RowSet, name: str | None) -> Numbers:
    """Return which entry of a stored column's cells each drawn row means, 0 where each is one input; shape (rows,)."""
    entries = drawn_from(rows)[1]
    return entries if name is not None and rows.listed == name else np.zeros_like(entries)


def drawn_from(rows: RowSet) -> tuple[Numbers, Numbers]:
    """Return the stored row that each drawn one means, and which entry of it: shape (rows,) both."""
    if rows.stored is None:
        return np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    places, entries = (np.array(list(rows.rows[name]), dtype=np.int64) for name in (ROW, ENTRY))
    return places, entries
