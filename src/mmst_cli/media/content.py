"""Where the bytes of a medium are: in a file, or here already."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, BinaryIO

from mmst_cli.errors import DataError

SHOWN = 200  # characters of a value in a message: a data URI may have thousands
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"<SMIL")

# Of torchcodec, PyAV (its number and its file) and soundfile.
_PLACE = re.compile(
    r"^\w+, \S+\.cpp:\d+, |(Could not open input file: .*? |Failed to open input buffer: )(?=[A-Z][a-z]+ )"
    r"|^\[Errno -?\d+\] |: '[^']*'$|^Error opening .*?: (?=[A-Z])"
)


def find_content(source: Any) -> Path | bytes | None:
    """Return the file or the bytes that ``source`` stands for, or None if it is neither.

    Args:
        source: a path, bytes, or ``{"bytes", "path"}`` as datasets stores media, where bytes win.

    Raises:
        DataError: the file isn't there, or there are no bytes.
    """
    if isinstance(source, dict) and source.keys() <= {"bytes", "path"}:
        source = source.get("bytes") if source.get("bytes") is not None else source.get("path")
        if source is None:
            raise DataError("found neither bytes nor a path.")
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise DataError("found 0 bytes.")
        return bytes(source)
    if not isinstance(source, str | Path):
        return None
    try:
        there = Path(source).is_file()
    except (OSError, ValueError):  # a name too long, or with a zero in it, to be one
        there = False
    if not there:
        raise DataError(f"no such file: {show(source)}")
    if not Path(source).stat().st_size:
        raise DataError(f"{name_of(Path(source))}a file of 0 bytes.")
    return Path(source)


def begins_with(content: Path | bytes, *marks: bytes) -> bool:
    """Tell whether the first bytes of ``content`` are one of ``marks``."""
    if isinstance(content, bytes):
        return content.startswith(marks)
    with content.open("rb") as file:
        return file.read(max(map(len, marks))).startswith(marks)


def refuse_playlist(content: Path | bytes) -> None:
    """Keep FFmpeg from following a list of other files and addresses, which it takes for a medium.

    Raises:
        DataError: ``content`` is such a list.
    """
    if begins_with(content, *PLAYLISTS):
        raise DataError(f"{name_of(content)}a list of other media, which isn't followed; give the media themselves.")


def name_of(content: Path | bytes) -> str:
    """Return the beginning of a message about ``content``: the file's path and a colon, or nothing for bytes."""
    return f"{content}: " if isinstance(content, Path) else ""


def stream_of(content: Path | bytes) -> str | BinaryIO:
    """Return ``content`` as decoders take it: the path as text, or the bytes as a file."""
    # Absolute, or FFmpeg would read the beginning of a relative `a:b.mp4` as a protocol.
    return str(content.absolute()) if isinstance(content, Path) else io.BytesIO(content)


def show(value: Any) -> str:
    """Return ``value`` for a message, cut where it is long."""
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def reason(error: BaseException) -> str:
    """Return the first line of a library's complaint, without a full stop and where in its own source it arose."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return show(_PLACE.sub("", lines[0])).strip(" .")
