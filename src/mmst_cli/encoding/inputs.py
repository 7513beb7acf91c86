"""What `mmst encode` reads: image files, folders, lines of text, and rows of tables, one item at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.items import Item, Source, read_image
from mmst_cli.encoding.pipeline import as_input
from mmst_cli.encoding.rows import open_rows
from mmst_cli.errors import ConfigError, DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ROW_SUFFIXES = (".jsonl", ".parquet", ".csv")
STDIN = "-"


def open_sources(inputs: Iterable[str], columns: list[str] | None = None) -> list[Source]:
    """Check the inputs of the command line and return them, unread.

    Args:
        inputs: image files, folders, `.txt`, `.jsonl`, `.parquet` and `.csv` files, or `-` for stdin.
        columns: columns to read of each row, as `name` or `name:modality`.

    Raises:
        ConfigError: the inputs and columns don't go together.
        DataError: a file, its column or its kind is missing or unknown.
    """
    names = list(inputs)
    if names.count(STDIN) > 1:
        raise ConfigError("INPUT: - stands for stdin, which can be read only once.")
    if columns and not any(Path(name).suffix.lower() in ROW_SUFFIXES for name in names):
        raise ConfigError(f"--column: only {', '.join(ROW_SUFFIXES)} files have columns, and none is given.")
    return [_open_source(name, columns or []) for name in names]


def _open_source(name: str, columns: list[str]) -> Source:
    if name == STDIN:
        return Source(name, (Modality.text,), partial(_lines, name, lambda: sys.stdin.buffer))
    path = Path(name).expanduser()
    if name.startswith(("http://", "https://")):
        raise DataError(f"{name}: nothing is fetched here. Download it first and name the file.")
    if path.is_dir():
        return _open_folder(name, path)
    if not path.is_file():
        raise DataError(f"{name}: no such file or folder.")
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        item = _image_item(name, path)
        return Source(name, item.modalities, lambda: iter([item]), count=1)
    if suffix == ".txt":
        return Source(name, (Modality.text,), partial(_lines, name, lambda: path.open("rb")), bytes=path.stat().st_size)
    if suffix in ROW_SUFFIXES:
        return open_rows(name, path, columns)
    known = ", ".join((*IMAGE_SUFFIXES, ".txt", *ROW_SUFFIXES))
    raise DataError(f"{name}: can't tell what this file is by its suffix; encode reads {known}, folders and -.")


def _open_folder(name: str, folder: Path) -> Source:
    images = others = 0
    for path in _walk(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images += 1
        else:
            others += 1
    if not images:
        raise DataError(f"{name}: this folder holds no images ({', '.join(IMAGE_SUFFIXES)}), only {others} others.")

    def items() -> Iterator[Item]:
        for path in _walk(folder):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield _image_item((Path(name) / path.relative_to(folder)).as_posix(), path)

    return Source(name, (Modality.image,), items, count=images, skipped=others)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` in sorted order, holding the names of one folder at a time."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent) / file for file in sorted(files))


def _image_item(name: str, path: Path) -> Item:
    # A file's name need not be UTF-8, but an id is.
    readable = os.fsencode(Path(name).as_posix()).decode("utf-8", "replace")
    return Item(readable, (Modality.image,), partial(read_image, path))


def _lines(name: str, open_file: Callable[[], BinaryIO]) -> Iterator[Item]:
    """Yield a text a line; a line is decoded when it is read, so that a broken one fails alone."""
    with open_file() as file:
        for number, line in enumerate(file):
            if number == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield Item(f"{name}#{number}", (Modality.text,), partial(_read_line, line))


def _read_line(line: bytes) -> Any:
    return as_input(line.decode("utf-8").rstrip("\r\n"), Modality.text)
