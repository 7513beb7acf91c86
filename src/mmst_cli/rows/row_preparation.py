"""From a dataset section to rows that are ready: loaded, their declared columns in order, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmst_cli.config.chat_templates import parse_template
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, MediaConfig, Modality, OnBadRow, Role
from mmst_cli.errors import ConfigError, DataError, did_you_mean
from mmst_cli.media.reading import Reader
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.cells import array_type
from mmst_cli.rows.columns import ORDER, ROW, Column, RowSet
from mmst_cli.rows.filling import fill_negatives
from mmst_cli.rows.labels import with_lengths
from mmst_cli.rows.row_checks import check_inputs, check_stream, check_types
from mmst_cli.rows.shapes import open_lists
from mmst_cli.rows.skipping import drop_bad_rows, look_at_rows, look_at_stream
from mmst_cli.sources.places import media_folder
from mmst_cli.sources.tables import choose_rows, leave_undecoded, load_rows, load_stream

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def prepare_rows(
    key: str,
    config: DatasetConfig,
    seed: int = 0,
    media: MediaConfig | None = None,
    bad_rows: BadRows | None = None,
    *,
    drop: bool = False,
) -> RowSet:
    """Load a dataset section, keep its declared columns in order, and check real rows against the declaration.

    Args:
        key: name of the section under ``datasets``.
        config: the section.
        seed: chooses rows for ``max_rows`` and for the check, and the order of a stream.
        media: how media are read.
        bad_rows: with ``on_bad_row: skip``, takes the broken rows that are found; they stay where they are, and who
            draws one leaves it out.
        drop: with ``on_bad_row: skip``, read every row instead, and return those that can be read.

    Raises:
        ConfigError: a declared column isn't there.
        DataError: rows can't be loaded, or aren't what is declared; the message names row and column.
    """
    bad_rows = bad_rows or BadRows.of({key: config})
    if config.streaming:
        return _prepare_stream(key, config, seed, reader_of(config, media), bad_rows)
    row_set = open_rows(key, config, seed, media)
    if config.on_bad_row is OnBadRow.error:
        check_inputs(row_set, seed)
    elif drop:
        return drop_bad_rows(row_set, bad_rows)
    else:
        look_at_rows(row_set, seed, bad_rows)
    return row_set


def reader_of(config: DatasetConfig, media: MediaConfig | None = None) -> Reader:
    """Return what reads the media of a dataset section."""
    return Reader(media or MediaConfig(), media_folder(config), config.allow_urls)


def open_rows(key: str, config: DatasetConfig, seed: int = 0, media: MediaConfig | None = None) -> RowSet:
    """Do what :func:`prepare_rows` does, but look at no input: any of them may be missing or broken."""
    rows = number_rows(key, load_rows(key, config.model_copy(update={"max_rows": None}), seed))
    columns = declare_columns(key, config.columns, rows.column_names)
    rows = choose_rows(rows, config.max_rows, seed)
    row_set = keep_columns(key, rows, columns, reader_of(config, media), lists=True)
    row_set = replace(row_set, on_bad_row=config.on_bad_row)
    if config.on_bad_row is OnBadRow.skip:
        row_set = with_lengths(row_set)
    opened = open_lists(row_set, config.columns)
    return fill_negatives(opened, config.columns, seed)


def number_rows(key: str, rows: Dataset) -> Dataset:
    """Return the rows with their number in a column, for whatever becomes of their order.

    Raises:
        DataError: the name of that column is taken.
    """
    if ROW in rows.column_names:
        raise DataError(f"datasets.{key}: a column is called {ROW}, which stands for its number. Rename it.")
    return rows.add_column(ROW, list(range(len(rows))))


def declare_columns(key: str, declared: dict[str, ColumnConfig], names: Sequence[str]) -> list[Column]:
    """Return the declared columns in the order the loss sees.

    Raises:
        ConfigError: a stored column that one is read from isn't there; all such faults together.
    """
    columns = [declare(name, config) for name, config in declared.items()]
    known = [name for name in names if name != ROW]
    missing = []
    for column in columns:
        at = f"datasets.{key}.columns.{column.name}"
        if column.parts:
            at += ".parts"
        missing += [
            f"{at}: no such column{'' if column.sources == (column.name,) else f' {source}'}; "
            f"the dataset has {', '.join(known)}." + did_you_mean(source, known)
            for source in column.sources
            if source not in known
        ]
    if missing:
        raise ConfigError(*missing)
    return sorted(columns, key=lambda column: ORDER.index(column.role))


def declare(name: str, config: ColumnConfig) -> Column:
    """Return a column as its section declares it, and the stored columns that it is read from."""
    if config.parts:
        parts = tuple((Modality(modality), source) for modality, source in config.parts.items())
        return Column(name, config.role, Modality.mixed, tuple(source for _, source in parts), parts=parts)
    if config.message:
        message = parse_template(config.message)
        sources = tuple(dict.fromkeys(source for part in message for source in part.sources))
        return Column(name, config.role, Modality.message, sources, message=message)
    return Column(name, config.role, config.modality, (name,), take=config.take if config.role is Role.label else None)


def keep_columns(
    key: str,
    rows: Dataset | IterableDataset,
    columns: Sequence[Column],
    reader: Reader,
    *,
    also: Sequence[str] = (),
    lists: bool = False,
) -> RowSet:
    """Keep the stored columns that these are read from, and those named in ``also``, undecoded.

    Args:
        key: name of the section.
        rows: the rows or stream.
        columns: what is read of them.
        reader: how it is read.
        also: further stored columns to keep.
        lists: whether cells may be lists of inputs.

    Raises:
        DataError: a stored type can't be what is declared; the message names the column.
    """
    from datasets import ClassLabel

    sources = list(dict.fromkeys(source for column in columns for source in column.sources))
    numbers = [ROW] if ROW in rows.column_names else []
    rows = leave_undecoded(rows.select_columns([*sources, *also, *numbers]), sources)
    arrays = {name: dtype for name in sources if (dtype := array_type(rows.features[name])) is not None}
    columns = [
        replace(
            column,
            dtypes=tuple((name, arrays[name]) for name in column.sources if name in arrays),
            classes=column.role is Role.label and isinstance(rows.features[column.sources[0]], ClassLabel),
        )
        for column in columns
    ]
    row_set = RowSet(key, rows, tuple(columns), reader)
    check_types(row_set, lists=lists)
    return row_set


def _prepare_stream(key: str, config: DatasetConfig, seed: int, reader: Reader, bad_rows: BadRows) -> RowSet:
    for name, column in config.columns.items():
        if column.pages is not None or column.take is not None:
            field = "take" if column.pages is None else "pages"
            raise ConfigError(
                f"datasets.{key}.columns.{name}.{field}: in a stream every row is drawn as it is. Name pages in the"
                " cells, as in file.pdf#1, and write one input a row; or leave out streaming."
            )
    stream = load_stream(key, config, seed)
    columns = declare_columns(key, config.columns, stream.column_names)
    row_set = replace(keep_columns(key, stream, columns, reader), on_bad_row=config.on_bad_row)
    if config.on_bad_row is OnBadRow.error:
        check_stream(row_set)
    else:
        look_at_stream(row_set, bad_rows)
    return row_set
