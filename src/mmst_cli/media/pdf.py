"""Pages of PDF files, drawn one at a time."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.errors import DataError
from mmst_cli.media.bounds import check_size
from mmst_cli.media.container import require
from mmst_cli.media.content import find_content, reason
from mmst_cli.media.input_errors import as_data_error

if TYPE_CHECKING:
    from PIL import Image

DPI = 150
POINTS = 72  # to an inch: the unit of a PDF's page sizes
OFFICE = (".docx", ".pptx", ".xlsx", ".odt", ".odp", ".ods", ".doc", ".ppt", ".xls", ".rtf")
_PAGE = re.compile(r"(.+\.pdf)#(\d+)", re.IGNORECASE | re.DOTALL)


def names_pdf(source: str | Path) -> bool:
    """Tell whether a path is that of a PDF file or of a page of one, or of an office file, which is to be one."""
    name = str(source).lower()
    return name.endswith((".pdf", *OFFICE)) or _PAGE.fullmatch(name) is not None


def split_page(name: str | Path) -> tuple[Path, int | None]:
    """Split ``file.pdf#3`` into the file and the page, from 1; the page is None where none is named."""
    match = _PAGE.fullmatch(str(name))
    if match is None or Path(name).is_file():  # a file may be called so
        return Path(name), None
    return Path(match[1]), int(match[2])


def page_numbers(path: str | Path, pages: Any = None) -> list[int]:
    """Return the numbers of the pages of a PDF file that ``pages`` asks for, from 1.

    Args:
        path: the file.
        pages: None or ``all``, ``first``, or a list of page numbers.

    Raises:
        DataError: the file can't be read, or has no such page.
    """
    with _last.lock, as_data_error(f"{path}: its pages can't be counted"):
        count = len(_last.open(path))
    if not count:
        raise DataError(f"{path}: a document of 0 pages.")
    if pages is None or pages == "all":
        return list(range(1, count + 1))
    if pages == "first":
        return [1]
    if not isinstance(pages, Sequence) or isinstance(pages, str) or not all(type(page) is int for page in pages):
        raise DataError(f"pages is all, first or a list of page numbers from 1, found {pages!r}.")
    for page in pages:
        _check_page(path, page, count)
    return list(pages)


def render_page(path: str | Path, page: int | None = None, dpi: int = DPI) -> Image.Image:
    """Draw one page as an RGB image, on white, with its annotations, the values of its form and its rotation.

    The document stays open for the page after it, until another one is drawn.

    Args:
        path: the file.
        page: from 1; may be left out for a document of one page.
        dpi: resolution, in dots per inch.

    Raises:
        DataError: the file can't be read, it has no such page, or the page would be too large.
    """
    with _last.lock:
        document = _last.open(path)
        if page is None and len(document) != 1:
            raise DataError(
                f"{path}: a document of {len(document)} pages, where one image is wanted; "
                f"name a page, as in {Path(path).name}#1, or set pages for the column."
            )
        page = 1 if page is None else page
        _check_page(path, page, len(document))
        return _draw(document, path, page, dpi)


def _draw(document: Any, path: str | Path, page: int, dpi: int) -> Image.Image:
    scale = dpi / POINTS
    with as_data_error(f"{path}#{page}: the page can't be drawn"):
        drawn = document[page - 1]
    try:
        width, height = drawn.get_size()
        check_size(round(width * scale), round(height * scale), what=f"{path}#{page}: at {dpi} dpi a page")
        with as_data_error(f"{path}#{page}: the page can't be drawn"):
            bitmap = drawn.render(scale=scale)  # with what was filled in, for the form was opened with the document
        try:
            # convert copies, so that nothing is left of the bitmap when it is closed
            return bitmap.to_pil().convert("RGB").copy()
        finally:
            bitmap.close()
    finally:
        drawn.close()


def _check_page(path: str | Path, page: int, count: int) -> None:
    if not 1 <= page <= count:
        has = f"the document has {count} pages, numbered from 1" if count != 1 else "the document has 1 page"
        raise DataError(f"{path}: no page {page}; {has}.")


class _LastDocument:
    """The document that was read last, kept open. PDFium allows one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.key: tuple[Any, ...] | None = None
        self.document: Any = None

    def open(self, path: str | Path) -> Any:
        """Return the document, open; the caller holds the lock."""
        content = _find_pdf(path)
        stat = content.stat()
        key = (str(content), stat.st_size, stat.st_mtime_ns)
        if self.key != key:
            self.close()
            self.document = _load(content)
            self.key = key
        return self.document

    def close(self) -> None:
        """Close the document, if there is one."""
        if self.document is not None:
            self.document.close()
        self.key, self.document = None, None


def _find_pdf(path: str | Path) -> Path:
    if Path(path).suffix.lower() in OFFICE:
        raise DataError(
            f"{path}: office files aren't read; convert it to PDF first: libreoffice --headless --convert-to pdf {path}"
        )
    content = find_content(str(path))
    assert isinstance(content, Path)
    require("pdf", f"{path}: reading PDF files")
    return content


def _load(path: Path) -> Any:
    from pypdfium2.raw import FORMTYPE_XFA_FULL, FPDF_ERR_PASSWORD

    pypdfium2 = _import_pypdfium2()
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == FPDF_ERR_PASSWORD and b"/Encrypt" in path.read_bytes():
            raise DataError(f"{path}: protected by a password; save a copy without one.") from error
        if error.err_code == FPDF_ERR_PASSWORD:  # of a file read before: PDFium gives no reason for this one
            raise DataError(f"{path}: no PDF that can be read.") from error
        raise DataError(f"{path}: no PDF that can be read: {reason(error)}.") from error
    if document.get_formtype() == FORMTYPE_XFA_FULL:
        document.close()
        raise DataError(
            f"{path}: a dynamic form (XFA), whose pages only Adobe's programs can draw; print it to a PDF there."
        )
    with as_data_error(f"{path}: its form can't be opened"):
        # Before any page is, or the values that were typed in are not drawn.
        document.init_forms()
    return document


@functools.cache
def _import_pypdfium2() -> Any:
    import pypdfium2

    # Of XFA forms it says how to build another PDFium; those whose pages it doesn't draw are refused.
    logging.getLogger("pypdfium2").setLevel(logging.ERROR)
    # Registered after pypdfium2's own, and so called before it complains about what is still open.
    atexit.register(lambda: _last.close())
    return pypdfium2


def _start_over() -> None:
    """Forget the document in a forked process: it shares its place in the file with the parent's."""
    global _last
    _last = _LastDocument()


_last = _LastDocument()
os.register_at_fork(after_in_child=_start_over)
