"""What tells rows apart for duplicate-free batches, found without decoding anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from mmst_cli.config.chat_templates import MEDIA, fill
from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import DataError
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.input_digest import hash_parts
from mmst_cli.media.pdf import names_pdf, split_page
from mmst_cli.media.reading import Reader
from mmst_cli.rows.bad_rows import BadRow
from mmst_cli.rows.columns import ENTRY, ROW, Column, RowSet
from mmst_cli.rows.stored_cells import BATCH, parse_json

if TYPE_CHECKING:
    from datasets import Dataset


def row_keys(rows: RowSet, broken: Sequence[BadRow] = ()) -> Dataset:
    """Return rows of one string for each input column: equal where the inputs are, so that batches can be drawn by it.

    A text stands for itself. Media are told apart by their stored content, files that are large by pieces
    of it: the same page in another encoding counts as another page, which decoding all rows would tell.
    Labels are kept as they are, for batches by label.

    Args:
        rows: the rows.
        broken: those of which it is known that they will be left out of their batches.
    """
    from datasets import Dataset

    keys: dict[str, list[Any]] = {}
    for column in rows.columns:
        if column.role is Role.label:
            keys[column.name] = list(rows.rows[column.sources[0]])
        else:
            keys[column.name] = column_keys(rows, column)
    if broken:
        _set_apart(rows, keys, broken)
    return Dataset.from_dict(keys)


def rows_identity(rows: RowSet, media: int | None = None) -> str:
    """Return what names rows by their content and order, decoding nothing.

    Args:
        rows: the rows; no stream.
        media: of so many rows, spread evenly, media are looked at; of all if left out. Texts and labels always are.
    """
    hasher = xxhash.xxh3_128()
    few = rows
    if media is not None and len(rows) > media:
        few = replace(rows, rows=rows.rows.select([index * len(rows) // media for index in range(media)]))
    for column in rows.columns:
        keys: Iterable[Any]
        if column.role is Role.label:
            keys = rows.rows[column.sources[0]]
        else:
            keys = column_keys(rows if column.modality is Modality.text else few, column)
        for key in keys:
            hasher.update(str(key).encode("utf-8", "surrogatepass") + b"\0")
        hasher.update(f"{column.name} {column.role} {column.modality}".encode())
    return f"{len(rows)} rows, {hasher.hexdigest()}"


def column_keys(rows: RowSet, column: Column) -> list[str]:
    """Return the key of each row in one input column, as in :func:`row_keys`."""
    return _drawn_keys(rows, column) if rows.stored else _stored_keys(rows, column)


def stored_identity(column: Column, row: Mapping[str, Any]) -> bytes:
    """Return 16 bytes that only the same stored content has in a column of this kind; a file is known by its name."""
    kind = f"{column.modality} {column.parts} {column.message} "
    return xxhash.xxh3_128(f"{kind}{_key(column, row, None)}".encode("utf-8", "surrogatepass")).digest()


def _stored_keys(rows: RowSet, column: Column) -> list[str]:
    return [_key(column, row, rows.reader) for row in _read_batches(rows.narrow(column).rows)]


def _drawn_keys(rows: RowSet, column: Column) -> list[str]:
    """Return the key of each drawn row, reading each stored one once."""
    several = rows.holds_several(column)
    row_of, entry_in = column.origin
    entries = rows.rows[entry_in] if several else [0] * len(rows)
    drawn = list(zip(rows.rows[row_of], entries, strict=True))
    entries_of: dict[int, set[int]] = defaultdict(set)
    for origin, entry in drawn:
        entries_of[origin].add(entry)
    keys: dict[tuple[int, int], str] = {}
    origins, stored = sorted(entries_of), rows.narrow(column).stored
    assert stored is not None
    for origin, row in zip(origins, _read_batches(stored.select(origins)), strict=True):
        for entry in entries_of[origin]:
            meant = rows.meant(row, entry, column.origin) if several else row
            keys[origin, entry] = _key(column, meant, rows.reader)
    return [keys[origin, entry] for origin, entry in drawn]


def _read_batches(rows: Any) -> Iterator[dict[str, Any]]:
    """Yield rows as iterating over them does, in a fraction of the time."""
    for batch in rows.iter(batch_size=BATCH):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _set_apart(rows: RowSet, keys: Mapping[str, list[str]], broken: Sequence[BadRow]) -> None:
    """Give broken inputs keys of their own.

    They will be left out of their batches. Until then, being alike as empty cells and files are, they would put
    whole rows into other batches than those they would be in if nothing was broken.
    """
    labels = {column.name for column in rows.with_role(Role.label)}
    known = {bad.identity: bad for bad in broken if bad.column not in labels}
    numbers, entries = list(rows.rows[ROW]), [None] * len(rows)
    if rows.stored is not None:
        stored, entries = list(rows.stored[ROW]), list(rows.rows[ENTRY])
        numbers = [stored[number] for number in numbers]
    for place, (number, entry) in enumerate(zip(numbers, entries, strict=True)):
        for identity in {(number, None, None), (number, entry, None)} & known.keys():
            keys[known[identity].column][place] = _hash(identity)


def _hash(value: object) -> str:
    return xxhash.xxh3_128(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def _key(column: Column, row: Mapping[str, Any], reader: Reader | None) -> str:
    try:
        return _key_of_cells(column, column.cells(row), reader)
    except DataError:  # reading it says why, and which row it is
        return _hash([row[source] for source in column.sources])


def _key_of_cells(column: Column, cells: Mapping[str, Any], reader: Reader | None) -> str:
    if column.parts:
        return _key_of_parts({modality: cells[source] for modality, source in column.parts}, reader)
    if column.message:
        return _digest(Modality.message, fill(column.message, cells), reader)
    cell = cells[column.sources[0]]
    if column.modality is Modality.mixed and isinstance(cell, Mapping):
        return _key_of_parts(cell, reader)
    if column.modality is Modality.message:
        cell = parse_json(cell)
    return _digest(column.modality, cell, reader)


def _key_of_parts(parts: Mapping[Any, Any], reader: Reader | None) -> str:
    """Return the key of the parts that are there; one part alone is the same input as it is by itself."""
    keys = {str(name): _digest(name, value, reader) for name, value in parts.items() if value is not None}
    return next(iter(keys.values())) if len(keys) == 1 else _digest(Modality.mixed, keys, reader)


def _digest(modality: str, value: Any, reader: Reader | None) -> str:
    if modality == Modality.text and isinstance(value, str):
        return value
    return hash_parts(_contents(modality, value, reader), modality.encode()).hexdigest()


def _contents(modality: str, value: Any, reader: Reader | None) -> Iterator[bytes]:
    """Yield what a stored value is made of. A string is the name of a file in media, and itself elsewhere.

    Without a reader, which knows where files are, their names stand for them.
    """
    if isinstance(value, Mapping) and {"bytes", "path"} & value.keys() >= value.keys():
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if isinstance(value, Mapping):
        present = {name: entry for name, entry in value.items() if entry is not None}
        yield f"mapping of {len(present)}".encode()
        for name in sorted(present):
            yield name.encode()
            yield from _contents(name if name in MEDIA else modality, present[name], reader)
    elif isinstance(value, list | tuple):
        yield f"list of {len(value)}".encode()
        for entry in value:
            yield from _contents(modality, entry, reader)
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, str):
        if modality in MEDIA and reader is not None:
            yield _file_content(value, reader)
        else:
            yield value.encode("utf-8", "surrogatepass")
    else:
        yield value if isinstance(value, bytes) else repr(value).encode()


def _file_content(name: str, reader: Reader) -> bytes:
    """Return what tells a file, or a page of one, apart; its place where no file is there, as for a folder."""
    place = name
    try:
        place = str(reader.locate(name))
        path, page = split_page(place) if names_pdf(place) else (Path(place), None)
        if stamp := stamp_of_file(path, timed=False):
            return stamp + f" {page}".encode()
    except (OSError, ValueError, DataError):
        pass
    return name.encode("utf-8", "surrogatepass")  # not where it is: data may have moved as a whole
