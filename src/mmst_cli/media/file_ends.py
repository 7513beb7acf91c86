"""How files of each modality begin and end, to find broken ones among many without decoding any."""

from __future__ import annotations

from pathlib import Path

from mmst_cli.config.schema import Modality

HEAD, TAIL = 16, 64  # bytes
_WEBM = b"\x1a\x45\xdf\xa3"  # and Matroska
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")  # that an mp4 or mov begins with


def looks_broken(modality: Modality, head: bytes, tail: bytes) -> bool:
    """Whether a file doesn't end as its format does, or doesn't begin as any common one of its modality does.

    A guess: some whole files carry bytes behind their end, and there are more formats, so a full decode has
    the last word. WEBP, BMP, TIFF and most sounds and clips have no end to look for.
    """
    if modality is Modality.audio:
        is_mpeg = head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")
        return not (
            is_mpeg
            or head.startswith((b"fLaC", b"OggS", b"FORM", _WEBM))
            or _is_riff(head, b"WAVE")
            or head[4:8] in _BOXES
        )
    if head.startswith(b"\x89PNG"):
        return b"IEND" not in tail
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in tail
    if head.startswith(b"GIF8"):
        return b"\x3b" not in tail[-4:]
    if modality is Modality.image:
        return not (_is_riff(head, b"WEBP") or head.startswith((b"BM", b"II*\0", b"MM\0*", b"%PDF")))
    return not (head[4:8] in _BOXES or head.startswith(_WEBM) or _is_riff(head, b"AVI ", b"WEBP"))


def ends_of(path: Path) -> tuple[bytes, bytes]:
    """Return the first and the last bytes of a file."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - TAIL))
        return head, file.read(TAIL)


def _is_riff(head: bytes, *kinds: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] in kinds
