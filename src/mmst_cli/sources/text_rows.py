"""Rows of text files as they stand there: lines of JSON, and values separated by commas or tabs."""

from __future__ import annotations

import csv
import gzip
import json
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from mmst_cli.sources.remote_files import is_remote

_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_LOOKED_AT = 1024  # bytes in which UTF-16 without a mark is noticed
_HIGH = bytes(range(9)) + b"\x0e"  # in no text but as high bytes: of Latin, Greek, Cyrillic, Hebrew, Arabic, Thai
_JSON_OF_HALVES = b"\\ud"  # how JSON writes half of a character beyond the first 65,536, to stand beside the other half


def open_bytes(file: str, name: str | None = None) -> BinaryIO:
    """Open a file or an address for reading, decompressed as the ending of its name says.

    Args:
        file: a path or an address.
        name: what it is called, where that is a copy with another name.
    """
    if is_remote(file):
        from datasets.utils.file_utils import xopen  # which keeps open what the file stands in, such as an archive

        opened = xopen(file, "rb")
    else:
        opened = Path(file).open("rb")  # noqa: SIM115 - closed by who reads it
    match (name or file).lower().rpartition(".")[2]:
        case "gz":
            return cast(BinaryIO, gzip.open(opened))
        case "zst":  # of Arrow, which says so where a file was cut off
            return BufferedReader(cast(RawIOBase, pa.CompressedInputStream(pa.PythonFile(opened, "r"), "zstd")))
    return cast(BinaryIO, opened)


def encoding_of(beginning: bytes) -> str:
    """Return what a text is written in, by its first bytes: UTF-8 unless a mark or the high bytes of others say so."""
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding
    zeros = [beginning[place::4].count(0) for place in range(4)]
    for encoding, highest, high in (("utf-32-le", 3, 2), ("utf-32-be", 0, 1)):  # the bytes of what is beyond 16 bits
        if 0 < len(beginning[highest::4]) == zeros[highest] < sum(zeros) and zeros[high] > zeros[highest] // 2:
            return encoding
    even, odd = (sum(byte in _HIGH for byte in beginning[place::2]) for place in range(2))
    encoding = "utf-16-be" if even > odd else "utf-16-le"
    likely = max(even, odd) > len(beginning) // 8 and 4 * min(even, odd) <= max(even, odd)
    return encoding if likely and _makes_text(beginning, encoding) else "utf-8-sig"


def _makes_text(beginning: bytes, encoding: str) -> bool:
    """Whether bytes are letters and the like in an encoding, where compressed files have zero bytes as well."""
    kinds = (unicodedata.category(letter) for letter in beginning.decode(encoding, "ignore") if not letter.isspace())
    return not any(kind in ("Cc", "Cn", "Co", "Cs") for kind in kinds)


def open_text(file: str, name: str | None = None, *, errors: str = "surrogateescape") -> TextIOWrapper:
    """Open a text file, with bytes that its encoding doesn't have as lone surrogates, for reading a cell to refuse."""
    with open_bytes(file, name) as opened:
        encoding = encoding_of(opened.read(_LOOKED_AT))
    return TextIOWrapper(open_bytes(file, name), encoding=encoding, newline="", errors=errors)


def text_lines(file: str, name: str | None = None) -> Iterator[bytes]:
    """Yield the lines of a file in UTF-8, whatever it is written in, with their ends."""
    with open_bytes(file, name) as lines:
        yield from decoded_lines(lines)


def decoded_lines(opened: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of an open file in UTF-8, whatever it is written in, with their ends.

    A line ends as in the file: by a line feed, or by a carriage return where there is no line feed at all.

    Raises:
        ValueError: it is no text in what it is written in.
    """
    first = opened.readline()
    encoding = encoding_of(first[:_LOOKED_AT])
    if encoding != "utf-8-sig":  # what is broken in it fails alone, when it is read
        text = (first + opened.read()).decode(encoding, "surrogatepass").removeprefix("\ufeff")
        end = "\n" if "\n" in text else "\r"
        yield from (f"{line}{end}".encode("utf-8", "surrogatepass") for line in text.removesuffix(end).split(end))
        return
    first = first.removeprefix(b"\xef\xbb\xbf")
    second = opened.readline()
    if not second and b"\r" in first.rstrip(b"\r\n"):
        yield from (line + b"\r" for line in first.rstrip(b"\r\n").split(b"\r"))
        return
    yield from filter(None, (first, second))
    yield from opened


def check_characters(text: str) -> None:
    """Check that a text is made of characters.

    Raises:
        ValueError: it holds what is none: bytes of a file that aren't UTF-8 were read as such.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        found = (
            f"the byte 0x{code - 0xDC00:02x} is not UTF-8"
            if 0xDC80 <= code <= 0xDCFF
            else f"\\u{code:04x} is half a one"
        )
        raise ValueError(f"text is made of characters, and {found}. Save the file as UTF-8") from error


def separated_values(file: str, delimiter: str, name: str | None = None) -> Iterator[dict[str, str | None]]:
    """Yield the rows of a file of separated values, each cell the text that stands there; an empty one is None.

    A file whose header has semicolons and no comma is separated by these, as spreadsheets write it where the comma is
    a decimal one. Quotation marks are those of RFC 4180. In a file on this machine in which one is never closed, and
    no value is quoted on both sides, they are text, as in values separated by tabs, which as a rule have none.

    Raises:
        ValueError: a mark is never closed or a row is longer than the header; the message names the line.
    """
    quoting = csv.QUOTE_MINIMAL
    if not is_remote(file):
        facts = Path(file).stat()
        quoting = _quoting_of(file, delimiter, name, facts.st_size, facts.st_mtime_ns)
    return _parse(file, delimiter, name, quoting)


@lru_cache(maxsize=256)
def _quoting_of(file: str, delimiter: str, name: str | None, _size: int, _changed: int) -> int:
    """Return how quotation marks are read in a file as it is now: found once, however often it is read."""
    try:
        for _ in _parse(file, delimiter, name, csv.QUOTE_MINIMAL):
            pass
    except ValueError:
        if not _marks_are_text(file, delimiter, name):
            raise
        return csv.QUOTE_NONE
    return csv.QUOTE_MINIMAL


def _marks_are_text(file: str, delimiter: str, name: str | None) -> bool:
    """Whether a file makes rows where its quotation marks are text: none encloses a value, and none stands alone."""
    try:
        rows = _parse(file, delimiter, name, csv.QUOTE_NONE)
        cells = (cell for row in rows for cell in row.values() if cell is not None)
        return not any(cell[0] == cell[-1] == '"' for cell in cells)
    except ValueError:
        return False


def header_of(file: str, delimiter: str, name: str | None = None) -> list[str]:
    """Return the names of the columns; see :func:`separated_values`.

    Raises:
        ValueError: there is none, one stands there twice, or one isn't UTF-8.
    """
    return _header(file, delimiter, name)[0]


def _header(file: str, delimiter: str, name: str | None) -> tuple[list[str], str]:
    """Return the names of the columns, and what separates them: semicolons where a comma doesn't."""
    header = _first_row(file, delimiter, name)
    if delimiter == "," and len(header) == 1 and len(apart := _first_row(file, ";", name)) > 1:
        header, delimiter = apart, ";"
    if not header:
        raise ValueError("it has no header")
    if twice := next((column for column in header if header.count(column) > 1), None):
        raise ValueError(f"two columns are called {twice}. Rename one")
    try:
        check_characters("".join(header))
    except ValueError as error:
        raise ValueError(f"its header: {error}") from error
    return header, delimiter


def _first_row(file: str, delimiter: str, name: str | None) -> list[str]:
    with open_text(file, name) as lines:
        return next(filter(None, csv.reader(lines, delimiter=delimiter)), [])


def _parse(file: str, delimiter: str, name: str | None, quoting: int) -> Iterator[dict[str, str | None]]:
    csv.field_size_limit(2**31 - 1)  # a document in a cell is longer than the 128 kB allowed otherwise
    header, delimiter = _header(file, delimiter, name)
    with open_text(file, name) as lines:
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        first = 1
        try:
            next(filter(None, reader))
            first = reader.line_num + 1
            for row in reader:
                if len(row) > len(header):
                    raise ValueError(f"line {first} has {len(row)} values, and the header {len(header)}")
                if row:
                    cells: list[str | None] = [cell or None for cell in row]
                    yield dict(zip(header, cells + [None] * (len(header) - len(row)), strict=True))
                first = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"line {first}: a quotation mark opens a value and is not closed before the next one ({error})."
                " Double the marks that are text, inside of quotation marks"
            ) from error


def json_rows(file: str, name: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file that holds one a line, or a list of them.

    Raises:
        ValueError: a line is none; the message names it.
    """
    lines: Iterator[tuple[int, bytes]]
    lines = ((number, line) for number, line in enumerate(text_lines(file, name), start=1) if line.strip())
    for first in islice(lines, 1):
        if first[1].lstrip().startswith(b"["):
            whole = first[1] + b"".join(line for _, line in lines)
            for place, entry in enumerate(_parse_json(whole, "the list")):
                yield _as_row(entry, whole, f"entry {place} of the list")
            return
        lines = chain([first], lines)
    for number, line in lines:
        yield _as_row(_parse_json(line, f"line {number}"), line, f"line {number}")


def _parse_json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        found = f"{error.msg.removesuffix(' at')} at {line}character {error.colno}"
        raise ValueError(f"{where} is no JSON: {found}. Mend or remove it.") from error
    except ValueError as error:  # of bytes that are no text
        raise ValueError(f"{where} is no JSON: {error}") from error


def _as_row(value: Any, content: bytes, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is no JSON object")
    if _JSON_OF_HALVES in content.lower():
        try:
            check_characters(json.dumps(value, ensure_ascii=False))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return value
