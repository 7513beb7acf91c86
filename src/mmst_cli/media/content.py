"""Where the bytes of a medium are, in a file, at an address or here already, and of what format they are."""

from __future__ import annotations

import io
import os
import re
import urllib.request
from errno import ENOENT
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from mmst_cli.cached import MEDIA
from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError, visible
from mmst_cli.storage import cache_folder, digest

URL_SCHEMES = ("http://", "https://")
MAX_DOWNLOAD = 100 * 2**20  # bytes of one fetched file
TIMEOUT = 30  # seconds without an answer
SHOWN = 200  # characters of a value in a message: a data URI may have thousands
HEAD, TAIL = 16, 64  # bytes of a file that tell its format, and whether it is whole

_PLACE = re.compile(r"^\[Errno -?\d+\] |: '[^']*'$")  # PyAV's: a number, and the file once more

# By hand: puremagic takes 0.5 ms a file, some hundred times as long, knows no mp3 without a tag, calls one with a tag
# `.koz` and zeros `.xxx`, and never looks at the end of a file.
_BEGINNINGS = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"%PDF": ".pdf",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"FORM": ".aiff",
    b"ID3": ".mp3",
    b"\x1a\x45\xdf\xa3": ".webm",  # and Matroska
}
_RIFFS = {b"WEBP": ".webp", b"WAVE": ".wav", b"AVI ": ".avi"}
_BOXES = (b"moov", b"mdat", b"free", b"wide", b"skip")  # that a mov without ftyp begins with
_BRANDS = {b"M4A ": ".m4a", b"qt  ": ".mov", b"avif": ".avif", b"avis": ".avif"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), ".heic"
)  # after ftyp; all others are mp4
_MP4 = {".mp4", ".mov", ".m4a", ".avif", ".heic"}
_FORMATS = {
    Modality.image: {".png", ".jpg", ".gif", ".webp", ".bmp", ".tif", ".avif", ".heic", ".pdf"},
    Modality.audio: {".wav", ".flac", ".ogg", ".mp3", ".aac", ".aiff", ".webm"} | _MP4,
    Modality.video: {".webm", ".avi", ".webp", ".png", ".jpg", ".gif"} | _MP4,  # images as frames
}
_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".gif": b"\x3b"}


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
        raise DataError(f"no such file: {visible(show(source))}") from FileNotFoundError(ENOENT, "", str(source))
    if not Path(source).stat().st_size:
        raise DataError(f"{name_of(Path(source))}a file of 0 bytes.")
    return Path(source)


def fetch(url: str, allow_urls: bool) -> Path:
    """Return the file of an address, downloading it into the cache unless it is there.

    By the standard library: fsspec's http needs aiohttp and six more packages that nothing else here brings, and its
    file cache bounds no size.

    Args:
        url: an http(s) address.
        allow_urls: whether anything may be fetched.

    Raises:
        DataError: fetching is not allowed, it failed, or the file is over ``MAX_DOWNLOAD``.
    """
    if not allow_urls:
        raise DataError(
            f"found the address {show(url)}, and nothing is fetched unless the dataset says allow_urls: true."
        )
    target = cache_folder() / MEDIA / digest(url)
    if target.is_file():
        return target
    try:
        # As a browser does, let an address hold spaces and letters beyond ASCII.
        with urllib.request.urlopen(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), timeout=TIMEOUT) as answer:
            content = answer.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(f"{show(url)} can't be fetched: {reason(error)}.") from error
    if len(content) > MAX_DOWNLOAD:
        raise DataError(f"{show(url)} is over {MAX_DOWNLOAD // 2**20} MiB.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")  # another process may fetch the same
    partial.write_bytes(content)
    partial.replace(target)
    return target


def head_of(content: Path | bytes) -> bytes:
    """Return the first ``HEAD`` bytes."""
    if isinstance(content, bytes):
        return content[:HEAD]
    with content.open("rb") as file:
        return file.read(HEAD)


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """Return the first ``HEAD`` and the last ``TAIL`` bytes of a file."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - TAIL))
        return head, file.read(TAIL)


def ending_of(head: bytes) -> str | None:
    """Return the usual file ending of what begins with these ``HEAD`` bytes, None if it is no common kind of medium."""
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFFS.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], ".mp4")
    if head[4:8] in _BOXES:
        return ".mov"
    for beginning, ending in _BEGINNINGS.items():
        if head.startswith(beginning):
            return ending
    if head[:1] == b"\xff" and head[1:2] >= b"\xe0":  # the frame of an MPEG sound; layer 0 is AAC's
        return ".mp3" if head[1] & 0b110 else ".aac"
    return None


def looks_broken(modality: Modality, head: bytes, tail: bytes) -> bool:
    """Whether a file doesn't end as its format does, or doesn't begin as any common one of its modality does.

    A guess that decodes nothing: some whole files carry bytes behind their end, and there are more formats, so a full
    decode has the last word. WEBP, BMP, TIFF and most sounds and clips have no end to look for.
    """
    ending = ending_of(head)
    if ending not in _FORMATS[modality]:
        return True
    return ending in _ENDS and _ENDS[ending] not in (tail[-4:] if ending == ".gif" else tail)


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
