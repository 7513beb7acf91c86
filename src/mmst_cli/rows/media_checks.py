"""Looks at all media of a column that cost microseconds each: is the file there, does it begin and end as it should."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Modality, OnBadRow
from mmst_cli.errors import DataError, visible
from mmst_cli.media.content import HEAD, SHOWN, TAIL, ends_of, looks_broken
from mmst_cli.media.pdf import names_pdf, split_page
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.stored_cells import NamedFile, embedded_media, named_files, nested_media, place_of, rows_without_text

if TYPE_CHECKING:
    from datasets import Dataset

    from mmst_cli.media.reading import Reader

MAX_FILES = 20_000  # files opened for the look at their ends; embedded media are all looked at


def find_broken(rows: RowSet, name: str, modality: Modality) -> set[int]:
    """Return the stored rows whose media don't begin or end as their format does, or whose text is none.

    Where broken rows are left out, those whose file isn't there are among them.

    Raises:
        DataError: a file isn't there; the message names the row.
    """
    stored = rows.source
    if modality is Modality.text:
        return rows_without_text(stored, name)
    if modality in (Modality.mixed, Modality.message):
        return _find_broken_parts(rows, stored, name)
    embedded = {row for row, content in embedded_media(stored, name) if looks_broken(modality, *_ends(content))}
    return embedded | _broken_of_named(rows, name, modality, named_files(stored, name))


def _find_broken_parts(rows: RowSet, stored: Dataset, name: str) -> set[int]:
    broken: set[int] = set()
    named: dict[Modality, list[NamedFile]] = defaultdict(list)
    for row, modality, value in nested_media(stored, name):
        if isinstance(value, str):
            named[modality].append((row, value))
        elif looks_broken(modality, *_ends(value)):
            broken.add(row)
    for modality, files in named.items():
        broken |= _broken_of_named(rows, name, modality, files)
    return broken


def _broken_of_named(rows: RowSet, name: str, modality: Modality, named: Iterable[NamedFile]) -> set[int]:
    files, lost = _locate_files(rows, name, modality, named)
    return lost | _broken_files(modality, files)


def _ends(content: bytes | memoryview) -> tuple[bytes, bytes]:
    return bytes(content[:HEAD]), bytes(content[-TAIL:])


def _broken_files(modality: Modality, files: list[tuple[int, Path]]) -> set[int]:
    broken = set()
    for row, path in files[:MAX_FILES]:
        try:
            if not path.is_dir() and looks_broken(modality, *ends_of(path)):
                broken.add(row)
        except OSError:  # reading it says why
            broken.add(row)
    return broken


def _locate_files(
    rows: RowSet, name: str, modality: Modality, named: Iterable[NamedFile]
) -> tuple[list[tuple[int, Path]], set[int]]:
    """Return (row, file) of the files that a column names, after fetching what is an address, and the rows of the rest.

    Raises:
        DataError: broken rows are errors, and an address is refused or a file isn't there; the message names the row.
    """
    stops = rows.on_bad_row is OnBadRow.error
    located: list[NamedFile] = []
    lost: set[int] = set()
    for row, path in named:
        try:
            located.append((row, _locate(rows.reader, path)))
        except DataError as error:
            if stops:
                raise DataError(f"{place_of(rows, row, name)}: {error}") from error
            lost.add(row)  # reading it says why
    missing = missing_files(located, folders=modality is Modality.video)
    if missing and stops:
        row, path = missing[0]
        raise DataError(f"{place_of(rows, row, name)}: no such {modality} file: {visible(path[:SHOWN])}")
    lost |= {row for row, _ in missing}
    return [(row, Path(path)) for row, path in located if row not in lost], lost


def _locate(reader: Reader, path: str) -> str:
    file = str(reader.locate(path))
    if not path.strip():
        return f"{file}/{path}"  # and not the folder, which is there
    return str(split_page(file)[0]) if names_pdf(file) else file


def missing_files(paths: Iterable[NamedFile], *, folders: bool = False) -> list[NamedFile]:
    """Return the files that aren't there, by row, listing each folder once instead of asking per file."""
    by_folder: dict[Path, list[NamedFile]] = defaultdict(list)
    for row, path in paths:
        by_folder[Path(path).parent].append((row, path))
    missing: list[NamedFile] = []
    for folder, entries in by_folder.items():
        present = _names_in(folder, folders)
        missing += [(row, path) for row, path in entries if Path(path).name not in present]
    return sorted(missing, key=lambda entry: entry[0])


def _names_in(folder: Path, folders: bool) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if folders or entry.is_file()}
    except (OSError, ValueError):  # no such folder; or a name too long, or with a zero in it, to be one
        return set()
