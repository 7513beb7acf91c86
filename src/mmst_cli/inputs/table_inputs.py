"""Rows of tables as inputs to encode."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import DatasetConfig, Modality, Use
from mmst_cli.errors import ConfigError, DataError, did_you_mean
from mmst_cli.inputs.content_stamps import stamp_of_cells
from mmst_cli.inputs.items import PDF, Item, Modalities, Source, fail_with, page_items
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.message import PARTS
from mmst_cli.media.pdf import split_page
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import as_input, named_file
from mmst_cli.sources.places import local_path, media_folder
from mmst_cli.sources.row_files import Row, RowsInTurn, open_rows_in_turn

_SECTION = "INPUT"  # stands for the section of a config in what the rooms below say


@dataclass(frozen=True)
class Column:
    """A column to encode."""

    name: str
    modality: Modality


@dataclass(frozen=True)
class TableOptions:
    """Which rows and columns of a table are encoded."""

    columns: tuple[str, ...] = ()
    """As `name` or `name:modality`."""
    name: str | None = None
    """Configuration of a hub dataset, or part of a built-in one."""
    split: str = "train"
    sql: str | None = None
    """A query over the table `rows`."""

    @property
    def given(self) -> str:
        """The option that was given and speaks of tables; nothing if none was."""
        options = {"--column": self.columns, "--name": self.name, "--sql": self.sql}
        options["--split"] = self.split if self.split != "train" else None
        return next((option for option, value in options.items() if value), "")


def open_table(name: str, options: TableOptions, reader: Reader, pages: Any = None) -> Source:
    """Check that a table has the wanted columns and return its rows, unread.

    Several columns make one input of several modalities a row, in the order in which they are named: a model
    that reads messages sees them in that order. Where ``pages`` says which, a PDF file that an image column names
    is its pages, each an input.

    Args:
        name: a file, pattern, folder, address, hub id or built-in dataset, as ``datasets.X.path`` of a config.
        options: which rows and columns of it.
        reader: how media are read.
        pages: which pages of documents.

    Raises:
        ConfigError: no column is named, or two of one modality.
        DataError: the table can't be read, or lacks a column.
    """
    section = DatasetConfig(
        use=Use.eval, path=name, name=options.name, split=options.split, sql=options.sql, columns={}
    )
    with _in_options():
        table = open_rows_in_turn(_SECTION, section)
    columns = [_find_column(name, text, table) for text in options.columns]
    if not columns:
        raise ConfigError(f"--column: {name} has {', '.join(table.types)}. Name the one to encode.")
    modalities: Modalities = tuple(sorted(column.modality for column in columns))
    if len(set(modalities)) < len(modalities):
        raise ConfigError("--column: columns that make up one input need different modalities.")
    if len(columns) > 1 and (whole := [modality for modality in modalities if modality not in PARTS]):
        raise ConfigError(f"--column: a {whole[0]} column is an input by itself. Name it alone.")
    near = Reader(reader.settings, media_folder(section))
    documents = columns[0] if pages is not None and modalities == (Modality.image,) else None

    def items() -> Iterator[Item]:
        with _in_options():
            for number, unread in enumerate(table.rows([column.name for column in columns])):
                row = _take(unread)
                read, stamp = partial(_read_row, row, columns, near), partial(_stamp_row, row, columns, near)
                item = Item(f"{name}#{number}", modalities, read, stamp, _length(row, columns))
                document = _find_document(row, documents, near) if documents else None
                yield from page_items(item.id, document, pages, near) if document else (item,)

    path = local_path(name)
    size = path.stat().st_size if path.is_file() else None
    return Source(name, (modalities,), items, near, None if documents else table.count, size)


@contextmanager
def _in_options() -> Iterator[None]:
    """Raise what is said about a section of a config as it is said of an argument of the command line."""
    try:
        yield
    except DataError as error:
        said = str(error).removeprefix(f"datasets.{_SECTION}.path: ")
        raise DataError(re.sub(rf"\bdatasets\.{_SECTION}\.(\w+)", r"--\1", said)) from error


def _take(row: Callable[[], Row]) -> Callable[[], Row]:
    """Return a row as it is stored, so that another process can decode it; one that can't be taken says so later."""
    try:
        return partial(_as_it_is, row())
    except Exception as error:  # whatever the library of the table raises
        if not concerns_input(error):
            raise
        return partial(fail_with, str(error) or type(error).__name__)


def _as_it_is(row: Row) -> Row:
    return row


def _length(row: Callable[[], Row], columns: list[Column]) -> int | None:
    """Return how long the text of a row is; None where it isn't only text."""
    if any(column.modality is not Modality.text for column in columns):
        return None
    try:
        return sum(len(row()[column.name]) for column in columns)
    except Exception:  # it can't be read, and says so when it is
        return 0


def _find_document(read: Callable[[], Row], column: Column, reader: Reader) -> Path | None:
    """Return the PDF file that a row names without a page, if it does."""
    try:
        path, page = split_page(reader.locate(named_file(read()[column.name]) or ""))
    except Exception:  # it can't be read, and says so when it is
        return None
    return path if page is None and path.suffix.lower() == PDF else None


def _find_column(source: str, wanted: str, file: RowsInTurn) -> Column:
    """Tell `name` from `name:modality`; a column's own name may hold a colon."""
    types = file.types
    name, _, declared = wanted.rpartition(":")
    if wanted in types:
        name, declared = wanted, ""
    elif name not in types:
        name, declared = (name, declared) if declared in tuple(Modality) else (wanted, "")
        raise DataError(f"{source}: no column {name}; there is {', '.join(types)}." + did_you_mean(name, types))
    if declared and declared not in tuple(Modality):
        raise ConfigError(f"--column {wanted}: encode takes {', '.join(Modality)}, not {declared}.")
    if declared == Modality.text and types[name] != Modality.text:
        raise DataError(f"{source}: column {name} holds bytes or media, not text.")
    noted = file.noted.get(name)
    # An animated image may be taken for a clip.
    if declared and noted and declared != noted and (noted, declared) != (Modality.image, Modality.video):
        raise DataError(f"{source}: column {name} holds {noted}, not {declared}.")
    return Column(name, Modality(declared) if declared else types[name])


def _stamp_row(read: Callable[[], Row], columns: list[Column], reader: Reader) -> bytes:
    names_files = {column.name: column.modality is not Modality.text for column in columns}
    return stamp_of_cells(read(), names_files, reader)


def _read_row(read: Callable[[], Row], columns: list[Column], reader: Reader) -> Any:
    row = read()
    if not isinstance(row, dict):
        raise DataError("no JSON object")
    # As in training, an input is what there is of its parts.
    parts = {column.modality: _read_cell(row, column, reader) for column in columns if row.get(column.name) is not None}
    if not parts:
        names = " and ".join(column.name for column in columns)
        if not any(column.name in row for column in columns):
            raise DataError(f"this row has no column {names}")
        raise DataError(f"column {names} is empty" if len(columns) == 1 else f"columns {names} are empty")
    if len(columns) > 1:
        return {str(modality): value for modality, value in parts.items()}
    return next(as_input(value, modality) for modality, value in parts.items())


def _read_cell(row: Row, column: Column, reader: Reader) -> Any:
    value = row[column.name]
    if column.modality is not Modality.text:
        try:
            return reader.read(column.modality, value)
        except DataError as error:
            raise DataError(f"column {column.name}: {error}") from error
    if not isinstance(value, str):
        raise DataError(f"column {column.name} holds {type(value).__name__}, not text")
    value.encode("utf-8")  # raises on what was no text in the file
    return value
