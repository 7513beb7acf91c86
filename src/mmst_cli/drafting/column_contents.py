"""What the columns of a table hold, by the first of its rows."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from mmst_cli.config.schema import Modality
from mmst_cli.inputs.collection import MODALITY_OF
from mmst_cli.media.content import HEAD, URL_SCHEMES, ending_of, head_of
from mmst_cli.media.pdf import names_pdf, split_page
from mmst_cli.media.video import FRAME_FILES
from mmst_cli.rows.row_checks import is_number
from mmst_cli.sources.row_files import json_modality
from mmst_cli.storage import expand_home

_AGREE = 0.9  # share of cells that decide what a column holds
_LONGEST_PATH = 500  # characters; a longer text names no file


class Other(StrEnum):
    """What a cell holds that is no input."""

    number = "numbers"
    numbers = "lists of numbers"
    nothing = "nothing"
    unknown = "something else"


@dataclass(frozen=True)
class Cell:
    """What one cell holds."""

    kind: Modality | Other
    found: str = ""
    """How that was told, such as `embedded .png`."""
    url: bool = False
    document: bool = False
    """Whether it names a whole PDF file."""
    lost: str | None = None
    """A file that it names and that isn't there."""
    entries: int | None = None
    """Of a list of inputs, or of numbers: how many."""
    largest: float = 0.0
    """Of a list of numbers: that which is farthest from 0, without its sign."""


@dataclass(frozen=True)
class Contents:
    """What a column holds."""

    name: str
    kind: Modality | Other
    found: str = ""
    urls: bool = False
    documents: bool = False
    lost: str | None = None
    lists: tuple[int, int] | None = None
    """Of lists of inputs: the fewest and the most entries."""
    numbers: tuple[int, int] | None = None
    """Of lists of numbers: the fewest and the most of a row."""
    largest: float = 0.0
    """Of these: that which is farthest from 0, without its sign."""
    words: float = 0.0
    """Of texts: the median number of words."""
    values: int = 0
    """How many different cells there are among those looked at; media are not compared."""

    @property
    def is_input(self) -> bool:
        """Whether its cells could be embedded."""
        return isinstance(self.kind, Modality)

    @property
    def is_medium(self) -> bool:
        """Whether its cells are images, sounds, clips, or chats and mappings that hold such."""
        return self.is_input and self.kind is not Modality.text

    @property
    def in_words(self) -> str:
        """What it holds, for messages."""
        kind = {Modality.text: "texts", Modality.image: "images", Modality.audio: "sounds", Modality.video: "clips"}
        one = {Modality.message: "chats", Modality.mixed: "mixed inputs"} | kind
        said = one[self.kind] if isinstance(self.kind, Modality) else str(self.kind)
        return f"lists of {said}" if self.lists else said


def contents_of(name: str, cells: Iterable[Any], folder: Path, noted: Modality | None = None) -> Contents:
    """Return what a column holds.

    Args:
        name: of the column.
        cells: some of it, as they are stored.
        folder: what relative paths are relative to.
        noted: what the file itself says that it holds.
    """
    stored = [cell for cell in cells if cell is not None]
    looks = [look for cell in stored if (look := look_at(cell, folder)).kind is not Other.nothing]
    if not looks:
        return Contents(name, Other.nothing)
    kind, count = Counter(look.kind for look in looks).most_common(1)[0]
    if noted is not None:
        kind, count = noted, len(looks)
    if count < _AGREE * len(looks):  # words and numbers in turn are texts
        texts = sum(look.kind in (Modality.text, Other.number) for look in looks)
        kind = Modality.text if texts == len(looks) else Other.unknown
    same = [look for look in looks if look.kind == kind] or looks
    entries = [look.entries for look in same if look.entries is not None]
    entries += [0 for cell in stored if entries and isinstance(cell, list) and not cell]
    bounds = (min(entries), max(entries)) if entries else None
    found = Counter(look.found for look in same).most_common(1)[0][0]
    contents = Contents(
        name,
        kind,
        found=found if noted is None else f"{found}, as the file notes" if found else f"the file notes {noted}",
        urls=any(look.url for look in same),
        documents=any(look.document for look in same),
        lost=next((look.lost for look in same if look.lost), None),
        lists=bounds if kind is not Other.numbers else None,
        numbers=bounds if kind is Other.numbers else None,
        largest=max(look.largest for look in same),
        values=len({str(cell) for cell in stored if isinstance(cell, str | int | float)}),
    )
    lengths = [len(cell.split()) for cell in stored if isinstance(cell, str)]
    return replace(contents, words=statistics.median(lengths)) if lengths else contents


def look_at(cell: Any, folder: Path) -> Cell:
    """Return what a cell holds; ``folder`` is what relative paths are relative to."""
    if isinstance(cell, bytes | bytearray | memoryview):
        return _of_bytes(bytes(cell[:HEAD]), "embedded")
    if isinstance(cell, bool | int | float):
        return Cell(Other.number)
    if isinstance(cell, str):
        return _of_text(cell, folder)
    if isinstance(cell, Mapping):
        return _of_mapping(cell, folder)
    if isinstance(cell, list | tuple):
        return _of_list(list(cell), folder)
    return Cell(Other.unknown)


def _of_bytes(head: bytes, where: str) -> Cell:
    ending = ending_of(head)
    kind = MODALITY_OF.get(ending or "")
    return Cell(kind, f"{where} {ending}") if kind else Cell(Other.unknown)


def _of_mapping(cell: Mapping[str, Any], folder: Path) -> Cell:
    if cell.keys() <= {"bytes", "path"}:
        content = cell.get("bytes")
        return look_at(content if content is not None else cell.get("path") or "", folder)
    kind = json_modality(cell)
    media = "array" in cell or kind is not Modality.image
    return Cell(kind, f"mappings of {', '.join(map(str, cell))}") if media else Cell(Other.unknown)


def _of_list(cell: list[Any], folder: Path) -> Cell:
    if not cell:
        return Cell(Other.nothing)
    if isinstance(cell[0], Mapping) and json_modality(cell) is Modality.message:
        return Cell(Modality.message, "lists of messages with role and content")
    looks = [look_at(entry, folder) for entry in cell]
    kind = looks[0].kind
    if kind is Other.number:
        sizes = [abs(entry) for entry in cell if isinstance(entry, int | float) and math.isfinite(entry)]
        return Cell(Other.numbers, entries=len(cell), largest=float(max(sizes, default=0.0)))
    lost = next((look.lost for look in looks if look.lost), None)
    return replace(looks[0], entries=len(cell), lost=lost) if isinstance(kind, Modality) else Cell(Other.unknown)


def _of_text(text: str, folder: Path) -> Cell:
    if not text.strip():
        return Cell(Other.nothing)
    if is_number(text):
        return Cell(Other.number)
    if text.lstrip()[:1] in ("[", "{") and (parsed := _parsed(text)) is not None:
        # Only of chats and numbers is JSON text read as what it stands for.
        look = look_at(parsed, folder)
        return look if look.kind in (Modality.message, Other.numbers) else Cell(Modality.text)
    if len(text) > _LONGEST_PATH or "\n" in text:
        return Cell(Modality.text)
    if text.startswith(URL_SCHEMES):
        ending = PurePosixPath(urlsplit(text).path).suffix.lower()
        named = MODALITY_OF.get(ending)
        return Cell(named, f"addresses of {ending} files", url=True) if named else Cell(Modality.text)
    try:
        return _of_path(text, folder)
    except (OSError, ValueError):  # too long a name to be one, or none that may be looked at
        return Cell(Modality.text)


def _of_path(text: str, folder: Path) -> Cell:
    """Return what a text stands for that may be the path of a file, a page of one, or a folder of frames."""
    file, page = split_page(text)
    ending = file.suffix.lower()
    named = MODALITY_OF.get(ending)
    place = folder / expand_home(str(file))
    if place.is_file():
        look = _of_bytes(head_of(place), "paths of")
        document = names_pdf(text) and page is None
        found = f"paths of {ending or look.found.rpartition(' ')[2]} files" + (" and their pages" if page else "")
        return replace(look, found=found, document=document) if look.kind in list(Modality) else Cell(Modality.text)
    if file.name and place.is_dir() and any(inside.suffix.lower() in FRAME_FILES for inside in place.iterdir()):
        return Cell(Modality.video, "paths of folders of frames")
    if named:
        return Cell(named, f"paths of {ending} files", lost=text)
    return Cell(Modality.text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
