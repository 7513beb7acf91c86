"""What `mmst encode` reads: files of media, documents, folders, lines of text, and tables from wherever they come."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import ConfigError, DataError, visible
from mmst_cli.inputs.items import PDF, Item, Source, broken_item, page_items
from mmst_cli.inputs.named_inputs import check_named_once
from mmst_cli.inputs.table_inputs import TableOptions, open_table
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.pdf import OFFICE, page_numbers
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import as_input
from mmst_cli.sources.folder_walk import PassedOver, walk
from mmst_cli.sources.places import (
    READERS,
    find_files,
    is_pattern,
    is_saved,
    local_path,
    names_a_local_path,
    row_ending,
)
from mmst_cli.sources.remote_files import is_remote
from mmst_cli.sources.text_rows import decoded_lines, text_lines

SUFFIXES = {
    Modality.image: (
        *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"),
        *(".jfif", ".jpe", ".jp2", ".ppm", ".pgm", ".tga"),
    ),
    Modality.audio: (
        *(".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"),
        *(".aif", ".aiff", ".oga", ".mka", ".wma", ".amr", ".caf", ".au"),
    ),
    Modality.video: (
        *(".mp4", ".webm", ".mkv", ".mov", ".avi"),
        *(".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".mts", ".m2ts"),
    ),
}
MODALITY_OF = {suffix: modality for modality, suffixes in SUFFIXES.items() for suffix in suffixes} | {
    PDF: Modality.image
}
STDIN = "-"
LINES = ".txt"


@dataclass(frozen=True)
class _How:
    """How the arguments of the command line are read."""

    table: TableOptions
    reader: Reader
    pages: Any
    again: bool


def open_sources(
    inputs: Iterable[str],
    columns: Sequence[str] | None = None,
    reader: Reader | None = None,
    pages: Any = None,
    table: TableOptions | None = None,
    *,
    again: bool = False,
) -> list[Source]:
    """Check the inputs of the command line and return them, unread.

    Args:
        inputs: images, sounds, clips, PDF files, folders of these, `.txt` files, tables wherever `datasets.X.path`
            of a config may have them, or `-` for stdin.
        columns: columns to read of each row, as `name` or `name:modality`.
        reader: how media are read.
        pages: which pages of a document: all, first, or numbers from 1.
        table: which rows of a table.
        again: they may be walked through more than once, stdin included.

    Raises:
        ConfigError: the inputs and columns don't go together.
        DataError: a file, its column or its kind is missing or unknown.
    """
    names = list(inputs)
    if names.count(STDIN) > 1:
        raise ConfigError("INPUT: - stands for stdin, which can be read only once.")
    table = replace(table or TableOptions(), columns=tuple(columns or ()))
    check_named_once(names, MODALITY_OF)
    tables = [name for name in names if _is_table(name, table)]
    how = _How(table, reader or Reader(MediaConfig(), Path()), pages, again)
    if table.given and not tables:
        for name in names:  # one that isn't there says so
            _open_source(name, how)
        raise ConfigError(f"{table.given}: only tables ({', '.join(READERS)}) have columns, and none is given.")
    return [open_table(name, table, how.reader, pages) if name in tables else _open_source(name, how) for name in names]


def _is_table(name: str, table: TableOptions) -> bool:
    """Whether an input is a table: by its ending, by what a folder holds, or a dataset's name beside --column."""
    if name == STDIN:
        return False
    if name.startswith("builtin:"):
        return True
    path = local_path(name)
    if path.is_dir():
        return is_saved(path) or (
            bool(table.given)
            and all(file.suffix.lower() not in MODALITY_OF for file in walk(path))
            and any(row_ending(file.name) in READERS for file in walk(path))
        )
    if row_ending(name) in READERS:
        return True
    if is_remote(name) or path.is_file():
        return False
    if is_pattern(name):
        return any(row_ending(found.name) in READERS for found in find_files(name, name, PassedOver()))
    return bool(table.given) and not names_a_local_path(name)


def _open_source(name: str, how: _How) -> Source:
    reader, pages = how.reader, how.pages
    if name == STDIN:
        return Source(name, ((Modality.text,),), partial(_lines, name, _stdin(how.again)), reader)
    path = local_path(name)
    if is_remote(name):
        raise DataError(f"{name}: nothing is fetched here. Download it first and name the file.")
    if path.is_dir():
        return _open_folder(name, path, how)
    if is_pattern(name) and not path.is_file():
        passed = PassedOver()
        files = find_files(name, name, passed)
        return _tell_passed(name, lambda: _open_files(name, files, lambda: files, reader, pages), passed)
    if not path.is_file():
        hint = "" if names_a_local_path(name) else " Of a dataset of the hub, name the columns with --column."
        raise DataError(f"{visible(name)}: no such file or folder.{hint}")
    suffix = path.suffix.lower()
    if suffix in OFFICE:
        page_numbers(path)  # says what to do
    if suffix in MODALITY_OF:
        items = partial(_file_items, name, path, reader, pages)
        return Source(name, ((MODALITY_OF[suffix],),), items, reader, count=None if suffix == PDF else 1)
    if suffix == LINES:
        lines = partial(_lines, name, lambda: text_lines(str(path)))
        return Source(name, ((Modality.text,),), lines, reader, bytes=path.stat().st_size)
    known = ", ".join((*MODALITY_OF, LINES, *READERS))
    raise DataError(f"{name}: can't tell what this file is by its suffix; encode reads {known}, folders and -.")


def _open_folder(name: str, path: Path, how: _How) -> Source:
    passed = PassedOver()
    opened = partial(_open_files, name, walk(path, passed), partial(walk, path), how.reader, how.pages)
    return _tell_passed(name, opened, passed)


def _tell_passed(name: str, open_files: Callable[[], Source], passed: PassedOver) -> Source:
    """Return the media of a folder or pattern. What can't be entered fails as a file does that can't be read."""
    try:
        source = open_files()
    except DataError as error:
        raise DataError(f"{error}{passed.in_words()}") from error
    kind = source.kinds[0][0]

    def items() -> Iterator[Item]:
        for folder, reason in passed.closed.items():
            yield broken_item(_as_given(name, folder), kind, f"the folder can't be entered: {reason}")
        yield from source.items()

    return replace(
        source,
        items=items,
        count=None if source.count is None else source.count + len(passed.closed),
        links=tuple(_as_given(name, folder) for folder in passed.links),
        closed=tuple(_as_given(name, folder) for folder in passed.closed),
    )


def _open_files(
    name: str, found: Iterable[Path], walk: Callable[[], Iterable[Path]], reader: Reader, pages: Any
) -> Source:
    """Return the media among the files of a folder or pattern; ``found`` are those that ``walk`` gives again."""
    counts: dict[str, int] = {}
    others = office = rows = 0
    for path in found:
        suffix = path.suffix.lower()
        if suffix in MODALITY_OF:
            counts[suffix] = counts.get(suffix, 0) + 1
        else:
            others += 1
            office += suffix in OFFICE
            rows += suffix == LINES or row_ending(path.name) in READERS
    if not counts:
        hint = " Convert the office documents in it to PDF first." if office else ""
        raise DataError(
            f"{name}: this folder holds no images, sounds, clips or PDF files ({', '.join(MODALITY_OF)}), "
            f"only {others} others.{hint}"
        )

    def items() -> Iterator[Item]:
        for path in walk():
            if path.suffix.lower() in MODALITY_OF:
                yield from _file_items(_as_given(name, path), path, reader, pages)

    kinds = tuple((modality,) for modality in dict.fromkeys(MODALITY_OF[suffix] for suffix in sorted(counts)))
    count = None if PDF in counts else sum(counts.values())
    return Source(name, kinds, items, reader, count, skipped=others, office=office, rows=rows)


def _as_given(name: str, path: Path) -> str:
    """Return what a file is called in ids: below the folder as it was given, or as the pattern matched it."""
    folder = local_path(name)
    return (Path(name) / path.relative_to(folder)).as_posix() if folder.is_dir() else path.as_posix()


def _file_items(name: str, path: Path, reader: Reader, pages: Any) -> Iterator[Item]:
    # A file's name need not be UTF-8, but an id is.
    readable = os.fsencode(Path(name).as_posix()).decode("utf-8", "replace")
    suffix = path.suffix.lower()
    if suffix == PDF:
        yield from page_items(readable, path, pages, reader)
    else:
        modality = MODALITY_OF[suffix]
        read = partial(_read_file, reader, modality, path.absolute().as_posix())
        yield Item(readable, (modality,), read, partial(stamp_of_file, path))


def _read_file(reader: Reader, modality: Modality, path: str) -> Any:
    return as_input(reader.read(modality, path), modality)


def _stdin(again: bool) -> Callable[[], Iterable[bytes]]:
    """Return what walks through the lines of stdin; more than once only through a copy of it on the disk."""
    folder: list[tempfile.TemporaryDirectory[str]] = []  # goes with the source

    def lines() -> Iterable[bytes]:
        if not again:
            return decoded_lines(sys.stdin.buffer)
        if not folder:
            folder.append(tempfile.TemporaryDirectory(prefix="mmst-"))
            with (Path(folder[0].name) / "stdin").open("wb") as copy:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        return decoded_lines((Path(folder[0].name) / "stdin").open("rb"))

    return lines


def _lines(name: str, lines: Callable[[], Iterable[bytes]]) -> Iterator[Item]:
    """Yield a text a line; a line is decoded when it is read, so that a broken one fails alone."""
    for number, line in enumerate(lines()):
        if line.strip():
            read, stamp = partial(_read_line, line), partial(bytes, line)
            yield Item(f"{name}#{number}", (Modality.text,), read, stamp, len(line))


def _read_line(line: bytes) -> Any:
    return as_input(line.decode("utf-8").rstrip("\r\n"), Modality.text)
