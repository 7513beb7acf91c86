"""The declared columns of a dataset, and its rows: stored as they came, read into model inputs when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mmst_cli.config.chat_templates import Message, fill
from mmst_cli.config.schema import Fill, Modality, OnBadRow, Role
from mmst_cli.errors import DataError
from mmst_cli.media.input_errors import as_data_error
from mmst_cli.media.reading import Reader
from mmst_cli.rows.cells import as_label, check_label, to_array

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

ORDER = (Role.anchor, Role.positive, Role.negative, Role.label)
_WITH_IMAGES = {Modality.image, Modality.message, Modality.mixed}
ROW = "__row__"
"""Column with the number that a row has in its source."""
ENTRY = "__entry__"
"""Column with which entry of a list, or which page of a document, is meant."""


@dataclass(frozen=True)
class Filled:
    """A list of negatives of which some rows had too few, and where the missing ones come from."""

    name: str
    """The stored column of lists."""
    how: Fill
    positive: str | None
    """The stored column of positives that stand in it as well."""


@dataclass(frozen=True)
class Column:
    """A column as declared, and how its inputs are made of what is stored."""

    name: str
    role: Role
    modality: Modality
    sources: tuple[str, ...] = ()
    """The stored columns it is read from."""
    parts: tuple[tuple[Modality, str], ...] = ()
    """For inputs of several modalities: each, and the stored column it is in."""
    message: tuple[Message, ...] = ()
    """For inputs that are chats made of columns: the messages, with placeholders."""
    entry: int | None = None
    """For cells that are lists: which entry."""
    origin: tuple[str, str] = (ROW, ENTRY)
    """The drawn columns that say which stored row, and which entry of it, is read; of mined negatives their own."""
    dtypes: tuple[tuple[str, str], ...] = ()
    """The stored columns that hold arrays, and what of: they come as lists, which have lost it."""
    filled: Filled | None = None
    """For negatives of lists that are filled up; ``origin`` says where each is: an entry, or below 0 a positive."""
    take: int | None = None
    """For labels that are lists: how many entries are used; all where None."""
    length: int | None = None
    """For labels that are lists, where broken rows are left out: how many entries those of most rows have."""
    classes: bool = False
    """For labels: whether each is the number of a class, and -1 says that there is none."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What an input holds, as far as the declaration tells."""
        return tuple(modality for modality, _ in self.parts) or (self.modality,)

    @property
    def may_hold_images(self) -> bool:
        """Whether inputs may hold images: of chats and mixed cells only reading tells."""
        return self.role is not Role.label and not _WITH_IMAGES.isdisjoint(self.modalities)

    @property
    def is_mined(self) -> bool:
        """Whether the inputs are those of other rows."""
        return self.origin != (ROW, ENTRY) and self.filled is None

    def read(self, row: Mapping[str, Any], reader: Reader) -> Any:
        """Return what a row holds of this column, decoded.

        Returns:
            A text as a string, an image as a PIL image, sounds and clips as dicts of an array and its rate, a
            chat as a list of messages, several modalities as a dict of them, a label as it is stored.

        Raises:
            DataError: it can't be read; the message says why, not where.
        """
        cells = self.cells(row)
        if self.parts:
            return reader.read(Modality.mixed, {str(modality): cells[source] for modality, source in self.parts})
        if self.message:
            return reader.read(Modality.message, fill(self.message, cells))
        cell = cells[self.sources[0]]
        if self.role is Role.label:
            cell = cell if self.take is None or cell is None else cell[: self.take]
            check_label(cell, classes=self.classes)
            if self.length is not None and len(cell) != self.length:
                raise DataError(f"the label is a list of {len(cell)}, and those of most rows are of {self.length}.")
            return as_label(cell)
        value = reader.read(self.modality, cell)
        return value["text"] if self.modality is Modality.text else value

    def cells(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a row stores for this column, by stored column, with numbers as arrays and nothing decoded.

        Raises:
            DataError: nested lists of numbers that are no array.
        """
        dtypes = dict(self.dtypes)
        found = {}
        for source in self.sources:
            cell = row[source] if self.entry is None else _entry_in(row[source], self.entry)
            found[source] = to_array(cell, dtypes[source]) if source in dtypes else cell
        return found


@dataclass(frozen=True)
class RowSet:
    """Rows whose columns stand in the order the loss sees: anchor, positive, negatives as listed, label.

    Nothing is decoded before it is read: ``rows`` holds media as files, bytes or arrays.
    """

    key: str
    rows: Dataset | IterableDataset
    """What a trainer draws from: the stored columns, or which of them is meant: for lists of positives and pages which
    entry of which row, for mined negatives which other row."""
    columns: tuple[Column, ...]
    reader: Reader
    stored: Dataset | None = field(default=None, repr=False)
    """Where ``rows`` says which row, or which entry of it, is meant: those rows."""
    listed: str | None = None
    """The stored column whose entries those are."""
    on_bad_row: OnBadRow = OnBadRow.error
    """Whether who draws a row that can't be read stops there or leaves it out."""
    remarks: tuple[str, ...] = ()
    """What was done to the rows, for the data card."""
    _narrowed: dict[str, RowSet] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_stream(self) -> bool:
        """Whether rows come one after another, uncounted."""
        return not hasattr(self.rows, "__len__")

    @property
    def source(self) -> Any:
        """The rows as they are stored, each once, whatever is drawn of them."""
        return self.rows if self.stored is None else self.stored

    @property
    def inputs(self) -> list[Column]:
        """The columns that are embedded, in order: all but labels."""
        return [column for column in self.columns if column.role is not Role.label]

    def with_role(self, *roles: Role) -> list[Column]:
        """Return the columns of these roles, in order."""
        return [column for column in self.columns if column.role in roles]

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a drawn row as the loss sees it: column name to model input, or to a label.

        Raises:
            DataError: an input can't be read; the message names dataset, row and column.
        """
        return dict(self.read_each(row))

    def read_each(self, row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield (column name, model input) of a drawn row, as :meth:`read` returns them, reading one after another."""
        found = {origin: self.find(row, origin) for origin in dict.fromkeys(c.origin for c in self.columns)}
        for column in self.columns:
            value = self.read_column(column, found[column.origin])
            yield column.name, value if column.role is Role.label else as_input(value, column.modality)

    def values(self, column: Column) -> Iterator[Any]:
        """Yield what the rows hold of a column, one at a time, so that one image at a time is decoded."""
        narrow = self.narrow(column)
        for row in narrow.rows:
            yield narrow.read_column(column, narrow.find(row, column.origin))

    def value_at(self, column: Column, row: int) -> Any:
        """Return what one row holds of a column, decoding nothing else."""
        narrow = self.narrow(column)
        return narrow.read_column(column, narrow.find(narrow.rows[row], column.origin))

    def narrow(self, column: Column) -> RowSet:
        """Return the rows with no more stored columns than reading ``column`` needs."""
        if column.name not in self._narrowed:  # for choosing columns takes `datasets` 20 ms
            names = {*self.needed_by(column), ROW}
            stored = None if self.stored is None else _select(self.stored, names)
            rows = self.rows if self.stored is not None else _select(self.rows, names)
            self._narrowed[column.name] = replace(self, rows=rows, stored=stored)
        return self._narrowed[column.name]

    def needed_by(self, column: Column) -> tuple[str, ...]:
        """Return the stored columns that reading a column needs."""
        return column.sources

    def find(self, row: Mapping[str, Any], origin: tuple[str, str] = (ROW, ENTRY)) -> Mapping[str, Any]:
        """Return the stored row that a drawn one means, by what ``Column.origin`` names."""
        if self.stored is None:
            return row
        which, entry = origin
        return self.meant(self.stored[row[which]], row[entry], origin)

    def meant(self, stored: Mapping[str, Any], entry: int, origin: tuple[str, str] = (ROW, ENTRY)) -> dict[str, Any]:
        """Return a stored row with the one input that is meant in the cell that holds several."""
        found = dict(stored)
        filled = self._filled.get(origin)
        if filled is not None and filled.name in found:
            if entry >= 0:
                found[filled.name] = _entry_in(found[filled.name], entry)
            elif filled.positive is not None:
                found[filled.name] = entry_of(found[filled.positive], -1 - entry)
        elif filled is None and self.listed is not None and self.listed in found:
            found[self.listed] = entry_of(found[self.listed], entry)
        return found

    def holds_several(self, column: Column) -> bool:
        """Whether the cells that a column is read from are several inputs, of which each drawn row means one."""
        return column.filled is not None or self.listed in column.sources

    @cached_property
    def _filled(self) -> dict[tuple[str, str], Filled]:
        return {column.origin: column.filled for column in self.columns if column.filled is not None}

    def read_column(self, column: Column, row: Mapping[str, Any]) -> Any:
        """Return what a stored row holds of a column, decoded.

        Raises:
            DataError: it can't be read; the message names dataset, row and column.
        """
        return read_cells(self.key, column, self.completed(column, row), self.reader)

    def completed(self, column: Column, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a stored row whose cells of a column hold all that its input is made of."""
        return row


def read_cells(key: str, column: Column, row: Mapping[str, Any], reader: Reader) -> Any:
    """Return what the stored row of a dataset holds of a column, decoded.

    Raises:
        DataError: it can't be read; the message names dataset, row and column.
    """
    try:
        with as_data_error(f"the {column.modality} can't be read"):
            return column.read(row, reader)
    except DataError as error:
        raise DataError(f"{place(key, row.get(ROW), column.name)}: {error}") from error


def place(key: str, number: int | None, column: str) -> str:
    """Return where an input is, for messages; the rows of a stream have no number."""
    at = f"row {number}" if number is not None else "a row of the stream"
    return f"datasets.{key}, {at}, column {column}"


def as_input(value: Any, modality: Modality | str) -> Any:
    """Return ``value`` as a model input that can't be misread.

    sentence-transformers takes a plain string for an image if it looks like the path or address of one, and its
    Router the keys of a sound or clip for tasks; ``{"text": value}`` embeds identically and is always text.
    """
    named = modality in (Modality.text, Modality.audio, Modality.video)
    return {str(modality): value} if named else value


def named_file(cell: Any) -> str | None:
    """Return the path that a cell is or holds, as it was given; None for content, arrays and the like."""
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else None
    return cell if isinstance(cell, str) else None


def entry_of(cell: Any, entry: int) -> Any:
    """Return one input of a cell that is several: from 0 of a list, from 1 of the pages of a document."""
    if isinstance(cell, list):
        return _entry_in(cell, entry)
    return f"{named_file(cell)}#{entry}" if entry else cell


def _entry_in(cell: list[Any] | None, entry: int) -> Any:
    """Return an entry; None where there is none, which is a broken row that may be left out."""
    return cell[entry] if cell is not None and entry < len(cell) else None


def _select(rows: Any, names: set[str]) -> Any:
    return rows.select_columns([name for name in rows.column_names if name in names])
