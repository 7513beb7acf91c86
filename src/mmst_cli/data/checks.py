"""Looks at real rows before training, so that a broken one is named before a GPU-hour is spent.

Every row gets a look that costs microseconds (is a value there, does an image file end as its format ends);
the first, the last and a seeded sample are decoded in full, and so is every image that looks cut off.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE = 30  # rows decoded in full, besides the first and the last
MAX_FILES = 20_000  # image files opened for the quick look; embedded images are all looked at
HEAD, TAIL = 16, 64  # bytes


def check_column(key: str, name: str, modality: Modality, rows: Dataset, seed: int, *, label: bool = False) -> None:
    """Check that a column holds what is declared.

    Raises:
        DataError: it doesn't; the message names row and column.
    """
    at = f"datasets.{key}, row {{row}}, column {name}"
    if (row := _first_null(rows, name)) is not None:
        raise DataError(f"{at.format(row=row)}: nothing there. Remove the row, or fill it.")
    if label:
        _check_label(key, name, rows)
    elif modality is Modality.text:
        _check_text(key, name, rows)
    elif modality is Modality.image:
        _check_images(at, name, rows, seed)


def sample_rows(count: int, seed: int) -> list[int]:
    """Return the first, the last and a seeded sample of the row numbers below ``count``, ascending."""
    chosen = random.Random(seed).sample(range(count), min(SAMPLE, count))
    return sorted({0, count - 1, *chosen})


def _column_chunks(rows: Dataset, name: str) -> Iterator[tuple[int, Any]]:
    """Yield (first row, arrow array) without decoding or copying."""
    start = 0
    for batch in rows.select_columns([name]).with_format("arrow").iter(batch_size=1000):
        for chunk in batch.column(name).chunks:
            yield start, chunk
            start += len(chunk)


def _first_null(rows: Dataset, name: str) -> int | None:
    for start, chunk in _column_chunks(rows, name):
        if chunk.null_count:
            return next(start + i for i, valid in enumerate(chunk.is_valid().to_pylist()) if not valid)
    return None


def _check_text(key: str, name: str, rows: Dataset) -> None:
    stored = _stored_type(rows, name)
    if stored not in ("string", "large_string"):
        raise DataError(
            f"datasets.{key}, row 0, column {name}: declared text, found {stored}. "
            "Declare another modality, or choose a column of strings."
        )


def _check_label(key: str, name: str, rows: Dataset) -> None:
    stored = _stored_type(rows, name)
    if not stored.startswith(("int", "uint", "float", "bool")):
        raise DataError(f"datasets.{key}, row 0, column {name}: a label is a number, found {stored}.")


def _stored_type(rows: Dataset, name: str) -> str:
    """Name what a column holds, without decoding any of it."""
    feature = rows.features[name]
    dtype = getattr(feature, "dtype", None)
    if isinstance(dtype, str) and "." not in dtype and dtype != "dict":
        return dtype
    kind = type(feature).__name__
    return {"Json": "values of several kinds", "dict": "a structure"}.get(kind, kind)


def _check_images(at: str, name: str, rows: Dataset, seed: int) -> None:
    chosen = sample_rows(len(rows), seed)
    for row, head, tail in _image_ends(at, rows, name):
        if looks_cut_off(head, tail):
            _decode(at, name, rows, row)
    for row in chosen:
        _decode(at, name, rows, row)


def _decode(at: str, name: str, rows: Dataset, row: int) -> None:
    from PIL import UnidentifiedImageError

    try:
        value = rows[row][name]
    except Exception as error:  # what a decoder raises at a broken file, struct.error among others
        reason = "no image format that is known" if isinstance(error, UnidentifiedImageError) else error
        path = next(iter(_column_chunks(rows.select([row]), name)))[1].field("path")[0].as_py()
        raise DataError(
            f"{at.format(row=row)}: can't be decoded as an image ({reason})"
            f"{f': {path}' if path else ''}. Replace the image, or remove the row."
        ) from error
    if min(value.size) < 1 or max(value.size) > 200 * min(value.size):
        raise DataError(
            f"{at.format(row=row)}: an image of {value.width}x{value.height} pixels; "
            "models take aspect ratios up to 200."
        )


def _image_ends(at: str, rows: Dataset, name: str) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (row, first bytes, last bytes) of every image, reading nothing in between."""
    files = 0
    for start, chunk in _column_chunks(rows, name):
        contents, paths = chunk.field("bytes"), chunk.field("path")
        for index in range(len(chunk)):
            if contents[index].is_valid:
                buffer = contents[index].as_buffer()
                yield start + index, *_ends(memoryview(buffer))
            elif not paths[index].is_valid:
                raise DataError(f"{at.format(row=start + index)}: nothing there. Remove the row, or fill it.")
            elif (files := files + 1) <= MAX_FILES:
                yield start + index, *_file_ends(at.format(row=start + index), Path(paths[index].as_py()))


def _ends(content: memoryview) -> tuple[bytes, bytes]:
    return bytes(content[:HEAD]), bytes(content[-TAIL:])


def _file_ends(at: str, path: Path) -> tuple[bytes, bytes]:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - TAIL))
            return head, file.read(TAIL)
    except OSError as error:
        raise DataError(f"{at}: can't be read: {error}") from error


def looks_cut_off(head: bytes, tail: bytes) -> bool:
    """Whether a file doesn't end as a PNG, JPEG or GIF ends, or doesn't begin as any common image does.

    A guess: some whole files carry bytes behind their end, and there are more formats, so a full decode has
    the last word. WEBP, BMP and TIFF have no end to look for.
    """
    if head.startswith(b"\x89PNG"):
        return b"IEND" not in tail
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in tail
    if head.startswith(b"GIF8"):
        return b"\x3b" not in tail[-4:]
    return not head.startswith((b"RIFF", b"BM", b"II*\0", b"MM\0*"))
