"""Rows of `.jsonl`, `.parquet` and `.csv` files as inputs to encode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.documents import PDF, page_items
from mmst_cli.encoding.items import Item, Modalities, Source
from mmst_cli.encoding.row_files import Row, RowFile, open_row_file
from mmst_cli.errors import ConfigError, DataError, did_you_mean
from mmst_cli.media.message import PARTS
from mmst_cli.media.pdf import split_page
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import as_input, named_file


@dataclass(frozen=True)
class Column:
    """A column to encode."""

    name: str
    modality: Modality


def open_rows(name: str, path: Path, wanted: list[str], reader: Reader, pages: Any = None) -> Source:
    """Check that a file of rows has the wanted columns and return it, unread.

    Several columns make one input of several modalities a row, in the order in which they are named: a model
    that reads messages sees them in that order. Where ``pages`` says which, a PDF file that an image column names
    is its pages, each an input.

    Raises:
        ConfigError: no column is named, or two of one modality.
        DataError: the file can't be read, or lacks a column.
    """
    file = open_row_file(name, path)
    columns = [_find_column(name, text, file) for text in wanted]
    if not columns:
        raise ConfigError(f"--column: {name} has {', '.join(file.types)}. Name the one to encode.")
    modalities: Modalities = tuple(sorted(column.modality for column in columns))
    if len(set(modalities)) < len(modalities):
        raise ConfigError("--column: columns that make up one input need different modalities.")
    if len(columns) > 1 and (whole := [modality for modality in modalities if modality not in PARTS]):
        raise ConfigError(f"--column: a {whole[0]} column is an input by itself. Name it alone.")
    near = Reader(reader.settings, path.parent)

    documents = columns[0] if pages is not None and modalities == (Modality.image,) else None

    def items() -> Iterator[Item]:
        for number, row in enumerate(file.rows([column.name for column in columns])):
            item = Item(f"{name}#{number}", modalities, partial(_read_row, row, columns, near))
            document = _find_document(row, documents, near) if documents else None
            yield from page_items(item.id, document, pages, near) if document else (item,)

    return Source(name, (modalities,), items, near, None if documents else file.count, path.stat().st_size)


def _find_document(read: Callable[[], Row], column: Column, reader: Reader) -> Path | None:
    """Return the PDF file that a row names without a page, if it does."""
    try:
        path, page = split_page(reader.locate(named_file(read()[column.name]) or ""))
    except Exception:  # it can't be read, and says so when it is
        return None
    return path if page is None and path.suffix.lower() == PDF else None


def _find_column(source: str, wanted: str, file: RowFile) -> Column:
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


def _read_row(read: Callable[[], Row], columns: list[Column], reader: Reader) -> Any:
    row = read()
    if not isinstance(row, dict):
        raise DataError("no JSON object")
    # As in training, an input is what there is of its parts.
    parts = {column.modality: _read_cell(row, column, reader) for column in columns if row.get(column.name) is not None}
    if not parts:
        names = " and ".join(column.name for column in columns)
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
