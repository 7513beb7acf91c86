"""What there is to encode, one input at a time, before it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.pdf import page_numbers
from mmst_cli.media.reading import Reader

PDF = ".pdf"
Modalities = tuple[Modality, ...]  # of one input, in alphabetical order as sentence-transformers has them


@dataclass(frozen=True)
class Item:
    """One input that isn't read yet."""

    id: str
    """The path as given, `file.pdf#page` with pages from 1, `file#row`, or `-#line`; rows and lines count from 0."""
    modalities: Modalities
    """What it holds."""
    read: Callable[[], Any]
    """Reads and decodes it into a model input; raises whatever its decoder raises."""
    stamp: Callable[[], bytes]
    """Tells its content apart without decoding it; raises whatever its source raises."""
    size: int | None = None
    """Of a text, its length; of others only reading tells."""

    @property
    def weight(self) -> int:
        """What it holds of a text, in bytes."""
        return self.size or 0


@dataclass(frozen=True)
class Source:
    """One input of the command line."""

    name: str
    """As given."""
    kinds: tuple[Modalities, ...]
    """What its items hold: one entry for each kind of input in it."""
    items: Callable[[], Iterator[Item]]
    """Walks through it in an order that is always the same, without reading what isn't asked for."""
    reader: Reader
    """Reads its media; to be told what the model wants."""
    count: int | None = None
    """Number of items; None where only reading would tell."""
    bytes: int | None = None
    """Size of a file of many rows, to notice that it changed."""
    skipped: int = 0
    """Files of a folder that can't be read as any kind of input."""
    office: int = 0
    """How many of these are office documents, which would be read as PDF files."""
    rows: int = 0
    """How many of them are tables or lines of text, which are read where they are named themselves."""
    links: tuple[str, ...] = ()
    """Folders below it that are links, which aren't followed."""
    closed: tuple[str, ...] = ()
    """Folders below it that can't be entered; each fails as an input does."""


def items_of(sources: Iterable[Source]) -> Iterator[Item]:
    """Walk through sources, one after another."""
    return chain.from_iterable(source.items() for source in sources)


def in_parts(items: Iterator[Item], size: int) -> Iterator[Iterator[Item]]:
    """Yield so many items at a time, unread; each part has to be walked through before the next is asked for."""
    for item in items:
        yield chain([item], islice(items, size - 1))


def page_items(name: str, path: Path, pages: Any, reader: Reader) -> Iterator[Item]:
    """Yield the pages of a file; a file that can't be opened is one input that says so when it is read.

    Args:
        name: the file as it was given, for the ids.
        path: where it is.
        pages: all (also if None), first, or page numbers from 1.
        reader: draws them.
    """
    stamp = partial(stamp_of_file, path)
    try:
        # Of listed pages, those that a document lacks fail one by one when they are read.
        numbers = page_numbers(path, None if isinstance(pages, list) else pages)
    except DataError as error:
        yield broken_item(name, Modality.image, str(error), stamp)
        return
    for number in pages if isinstance(pages, list) else numbers:
        read = partial(reader.read, Modality.image, f"{path}#{number}")
        yield Item(f"{name}#{number}", (Modality.image,), read, stamp)


def broken_item(name: str, modality: Modality, message: str, stamp: Callable[[], bytes] = bytes) -> Item:
    """Return an input that says why it can't be read when it is."""
    return Item(name, (modality,), partial(fail_with, message), stamp)


def fail_with(message: str) -> NoReturn:
    """Stand for a reading that fails.

    Raises:
        DataError: always.
    """
    raise DataError(message)
