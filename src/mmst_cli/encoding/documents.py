"""Pages of PDF files as inputs to encode."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.items import Item
from mmst_cli.errors import DataError
from mmst_cli.media.pdf import page_numbers
from mmst_cli.media.reading import Reader

PDF = ".pdf"


def page_items(name: str, path: Path, pages: Any, reader: Reader) -> Iterator[Item]:
    """Yield the pages of a file; a file that can't be opened is one input that says so when it is read.

    Args:
        name: the file as it was given, for the ids.
        path: where it is.
        pages: all (also if None), first, or page numbers from 1.
        reader: draws them.
    """
    try:
        # Of listed pages, those that a document lacks fail one by one when they are read.
        numbers = page_numbers(path, None if isinstance(pages, list) else pages)
    except DataError as error:
        yield Item(name, (Modality.image,), partial(_raise, str(error)))
        return
    for number in pages if isinstance(pages, list) else numbers:
        yield Item(f"{name}#{number}", (Modality.image,), partial(reader.read, Modality.image, f"{path}#{number}"))


def _raise(message: str) -> NoReturn:
    raise DataError(message)
