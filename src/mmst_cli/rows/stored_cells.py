"""Cells as they are stored, seen without copying or decoding: what is empty, what is embedded, what is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.chat_templates import MEDIA
from mmst_cli.config.schema import Modality
from mmst_cli.rows.cells import LARGEST_LABEL
from mmst_cli.rows.columns import ROW, RowSet, place

if TYPE_CHECKING:
    from datasets import Dataset

NamedFile = tuple[int, str]
"""A row, and the file or address that a cell of it, or an entry of that cell, names."""


def place_of(rows: RowSet, row: int, column: str) -> str:
    """Return where a stored row is, for messages: the number is that in the source."""
    stored = rows.source
    number = int(stored.select_columns([ROW])[row][ROW]) if ROW in stored.column_names else row
    return place(rows.key, number, column)


def column_chunks(rows: Dataset, name: str) -> Iterator[tuple[int, Any]]:
    """Yield (first row, arrow array) of a column, without decoding or copying."""
    start = 0
    for batch in rows.select_columns([name]).with_format("arrow").iter(batch_size=1000):
        for chunk in batch.column(name).chunks:
            yield start, chunk
            start += len(chunk)


def empty_cells(chunk: Any) -> list[int]:
    """Return where nothing is in an array: null, or media with neither bytes nor path."""
    import pyarrow.compute as compute

    is_empty = compute.is_null(chunk)
    contents, paths = _contents_and_paths(chunk)
    if contents is not None and paths is not None:
        is_empty = compute.or_(is_empty, compute.and_(compute.is_null(contents), compute.is_null(paths)))
    return compute.indices_nonzero(is_empty).to_pylist() if compute.any(is_empty).as_py() else []  # type: ignore[no-any-return]


def text_lengths(rows: Dataset, name: str) -> np.ndarray | None:
    """Return how many characters each text of a column has, 0 where there is none; None where it holds other things."""
    import pyarrow.compute as compute
    from pyarrow import types

    found = []
    for _, chunk in column_chunks(rows, name):
        if not (types.is_string(chunk.type) or types.is_large_string(chunk.type)):
            return None
        found.append(compute.fill_null(compute.utf8_length(chunk), 0).to_numpy(zero_copy_only=False))
    return np.concatenate(found) if found else None


def list_lengths(chunk: Any) -> np.ndarray:
    """Return how many entries the lists of an array have, 0 where there is none."""
    import pyarrow.compute as compute

    lengths: np.ndarray = compute.fill_null(compute.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def empty_entries(chunk: Any) -> Iterator[tuple[int, int]]:
    """Yield (list, entry) where nothing is in an entry of the lists of an array."""
    import pyarrow.compute as compute

    owners = compute.list_parent_indices(chunk).to_numpy()
    for at in empty_cells(compute.list_flatten(chunk)):
        yield int(owners[at]), at - int(np.searchsorted(owners, owners[at]))


def rows_with_unusable_labels(rows: Dataset, name: str) -> set[int]:
    """Return the rows whose label, or an entry of it where labels are lists, a loss can't be computed with.

    Those are NaN, infinite or beyond float32, missing, and -1 where labels are the numbers of classes.
    """
    import pyarrow.compute as compute
    from pyarrow import types

    found: set[int] = set()
    for start, chunk in column_chunks(rows, name):
        owners = None
        while types.is_list(chunk.type) or types.is_large_list(chunk.type) or types.is_fixed_size_list(chunk.type):
            parents = compute.list_parent_indices(chunk)
            owners = parents if owners is None else owners.take(parents)
            chunk = compute.list_flatten(chunk)
        if types.is_floating(chunk.type):
            usable = compute.less_equal(compute.abs(chunk.cast("float64")), LARGEST_LABEL)  # false of NaN
        elif type(rows.features[name]).__name__ == "ClassLabel":
            usable = compute.not_equal(chunk, -1)
        else:
            usable = compute.is_valid(chunk)
        places = compute.indices_nonzero(compute.invert(compute.fill_null(usable, False)))
        found |= {start + row for row in (places if owners is None else owners.take(places)).to_pylist()}
    return found


def rows_without_text(rows: Dataset, name: str) -> set[int]:
    """Return the rows that hold something other than a text, in a column that holds values of several kinds."""
    if type(rows.features[name]).__name__ != "Json":
        return set()
    cells = (
        (start + i, cell) for start, chunk in column_chunks(rows, name) for i, cell in enumerate(chunk.to_pylist())
    )
    return {row for row, cell in cells if cell is not None and not cell.lstrip().startswith('"')}


def rows_with_empty_entries(rows: Dataset, name: str, least: int = 1) -> set[int]:
    """Return the rows whose list holds fewer than so many, or an entry with nothing in it; none of other cells."""
    from pyarrow import types

    found: set[int] = set()
    for start, chunk in column_chunks(rows, name):
        if types.is_list(chunk.type) or types.is_large_list(chunk.type):
            found |= {start + index for index, _ in empty_entries(chunk)}
            found |= {start + index for index in np.flatnonzero(list_lengths(chunk) < least).tolist()}
    return found


def named_files(rows: Dataset, name: str) -> Iterator[NamedFile]:
    """Yield the files and addresses that a column names, of lists every entry."""
    for row, contents, paths, index in _media(rows, name):
        if paths is not None and not (contents is not None and contents[index].is_valid) and paths[index].is_valid:
            yield row, paths[index].as_py()


def embedded_media(rows: Dataset, name: str) -> Iterator[tuple[int, memoryview]]:
    """Yield (row, content) of the media that are in the column itself, of lists every entry."""
    for row, contents, _, index in _media(rows, name):
        if contents is not None and contents[index].is_valid:
            yield row, memoryview(contents[index].as_buffer())


def _media(rows: Dataset, name: str) -> Iterator[tuple[int, Any, Any, int]]:
    """Yield (row, array of contents, array of paths, place in them) of each medium; nothing for arrays of numbers."""
    import pyarrow.compute as compute
    from pyarrow import types

    for start, chunk in column_chunks(rows, name):
        owners = range(len(chunk))
        if types.is_list(chunk.type) or types.is_large_list(chunk.type):
            owners, chunk = compute.list_parent_indices(chunk).to_pylist(), compute.list_flatten(chunk)
        contents, paths = _contents_and_paths(chunk)
        if contents is not None or paths is not None:
            yield from ((start + owner, contents, paths, index) for index, owner in enumerate(owners))


def _contents_and_paths(chunk: Any) -> tuple[Any, Any]:
    """Return the arrays of contents and of paths of an array of media; None for what it doesn't hold."""
    import pyarrow.compute as compute
    from pyarrow import types

    if types.is_string(chunk.type) or types.is_large_string(chunk.type):
        return None, chunk
    if types.is_binary(chunk.type) or types.is_large_binary(chunk.type):
        return chunk, None
    if not types.is_struct(chunk.type):
        return None, None
    fields = {chunk.type.field(i).name for i in range(chunk.type.num_fields)}
    return (
        compute.struct_field(chunk, "bytes") if "bytes" in fields else None,
        compute.struct_field(chunk, "path") if "path" in fields else None,
    )


BATCH = 200  # rows whose stored content is held at a time


def nested_media(rows: Dataset, name: str) -> Iterator[tuple[int, Modality, str | bytes]]:
    """Yield (row, modality, path or content) of the media inside of mappings and chats."""
    row = 0
    for batch in rows.select_columns([name]).iter(batch_size=BATCH):
        for cell in batch[name]:
            for modality, value in _walk(parse_json(cell)):
                if isinstance(value, Mapping):
                    value = value.get("path") if value.get("bytes") is None else value["bytes"]
                if isinstance(value, str | bytes):
                    yield row, modality, value
            row += 1


def _walk(value: Any) -> Iterator[tuple[Modality, Any]]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            if name in MEDIA:
                yield from ((Modality(name), one) for one in (entry if isinstance(entry, list) else [entry]))
            else:
                yield from _walk(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _walk(entry)


def parse_json(cell: Any) -> Any:
    """Return what a cell holds that may be JSON; the cell where it isn't, for reading it to say so."""
    try:
        return json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell
