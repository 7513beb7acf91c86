"""What `mmst encode` reads: files of media, documents, folders, lines of text, and rows of tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.encoding.documents import PDF, page_items
from mmst_cli.encoding.items import Item, Source
from mmst_cli.encoding.rows import open_rows
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.media.pdf import OFFICE, page_numbers
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import as_input

SUFFIXES = {
    Modality.image: (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    Modality.audio: (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"),
    Modality.video: (".mp4", ".webm", ".mkv", ".mov", ".avi"),
}
MODALITY_OF = {suffix: modality for modality, suffixes in SUFFIXES.items() for suffix in suffixes} | {
    PDF: Modality.image
}
ROW_SUFFIXES = (".jsonl", ".parquet", ".csv")
STDIN = "-"


def open_sources(
    inputs: Iterable[str], columns: list[str] | None = None, reader: Reader | None = None, pages: Any = None
) -> list[Source]:
    """Check the inputs of the command line and return them, unread.

    Args:
        inputs: images, sounds, clips, PDF files, folders of these, `.txt`, `.jsonl`, `.parquet` and `.csv` files,
            or `-` for stdin.
        columns: columns to read of each row, as `name` or `name:modality`.
        reader: how media are read.
        pages: which pages of a document: all, first, or numbers from 1.

    Raises:
        ConfigError: the inputs and columns don't go together.
        DataError: a file, its column or its kind is missing or unknown.
    """
    names = list(inputs)
    if names.count(STDIN) > 1:
        raise ConfigError("INPUT: - stands for stdin, which can be read only once.")
    if columns and not any(Path(name).suffix.lower() in ROW_SUFFIXES for name in names):
        raise ConfigError(f"--column: only {', '.join(ROW_SUFFIXES)} files have columns, and none is given.")
    reader = reader or Reader(MediaConfig(), Path())
    return [_open_source(name, columns or [], reader, pages) for name in names]


def _open_source(name: str, columns: list[str], reader: Reader, pages: Any) -> Source:
    if name == STDIN:
        return Source(name, ((Modality.text,),), partial(_lines, name, lambda: sys.stdin.buffer), reader)
    path = Path(name).expanduser()
    if name.startswith(("http://", "https://")):
        raise DataError(f"{name}: nothing is fetched here. Download it first and name the file.")
    if path.is_dir():
        return _open_folder(name, path, reader, pages)
    if not path.is_file():
        raise DataError(f"{name}: no such file or folder.")
    suffix = path.suffix.lower()
    if suffix in OFFICE:
        page_numbers(path)  # says what to do
    if suffix in MODALITY_OF:
        items = partial(_file_items, name, path, reader, pages)
        return Source(name, ((MODALITY_OF[suffix],),), items, reader, count=None if suffix == PDF else 1)
    if suffix == ".txt":
        lines = partial(_lines, name, lambda: path.open("rb"))
        return Source(name, ((Modality.text,),), lines, reader, bytes=path.stat().st_size)
    if suffix in ROW_SUFFIXES:
        return open_rows(name, path, columns, reader, pages)
    known = ", ".join((*MODALITY_OF, ".txt", *ROW_SUFFIXES))
    raise DataError(f"{name}: can't tell what this file is by its suffix; encode reads {known}, folders and -.")


def _open_folder(name: str, folder: Path, reader: Reader, pages: Any) -> Source:
    counts: dict[str, int] = {}
    others = office = 0
    for path in _walk(folder):
        suffix = path.suffix.lower()
        if suffix in MODALITY_OF:
            counts[suffix] = counts.get(suffix, 0) + 1
        else:
            others += 1
            office += suffix in OFFICE
    if not counts:
        hint = " Convert the office documents in it to PDF first." if office else ""
        raise DataError(
            f"{name}: this folder holds no images, sounds, clips or PDF files ({', '.join(MODALITY_OF)}), "
            f"only {others} others.{hint}"
        )

    def items() -> Iterator[Item]:
        for path in _walk(folder):
            if path.suffix.lower() in MODALITY_OF:
                yield from _file_items((Path(name) / path.relative_to(folder)).as_posix(), path, reader, pages)

    kinds = tuple((modality,) for modality in dict.fromkeys(MODALITY_OF[suffix] for suffix in sorted(counts)))
    count = None if PDF in counts else sum(counts.values())
    return Source(name, kinds, items, reader, count, skipped=others, office=office)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` in sorted order, holding the names of one folder at a time."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent) / file for file in sorted(files))


def _file_items(name: str, path: Path, reader: Reader, pages: Any) -> Iterator[Item]:
    # A file's name need not be UTF-8, but an id is.
    readable = os.fsencode(Path(name).as_posix()).decode("utf-8", "replace")
    suffix = path.suffix.lower()
    if suffix == PDF:
        yield from page_items(readable, path, pages, reader)
    else:
        modality = MODALITY_OF[suffix]
        yield Item(readable, (modality,), partial(_read_file, reader, modality, path.absolute().as_posix()))


def _read_file(reader: Reader, modality: Modality, path: str) -> Any:
    return as_input(reader.read(modality, path), modality)


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
