"""A small look at a query or a document: a thumbnail, an excerpt, or a sentence that says why there is neither."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mmst_cli.config.schema import Modality

LONG_SIDE = 240  # pixels of a thumbnail
JPEG_QUALITY = 70
EXCERPT = 280  # characters

Value = tuple[Modality, Any]


@dataclass(frozen=True)
class Preview:
    """What is shown of one value.

    Attributes:
        text: the text, or its beginning.
        jpeg: a thumbnail as the content of a JPEG file.
        size: width and height of the thumbnail in pixels.
        note: why nothing is shown, for people.
    """

    text: str = ""
    jpeg: bytes | None = None
    size: tuple[int, int] = (0, 0)
    note: str = ""

    @property
    def data_uri(self) -> str:
        """The thumbnail as it is embedded in a page; empty without one."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}" if self.jpeg else ""


def preview(read: Callable[[], Value]) -> Preview:
    """Read a value and return a look at it; a value that can't be read or decoded becomes a note, never an error."""
    try:
        return _look_at(*read())
    except Exception as error:  # whatever a decoder raises: one broken file must not cost the page
        return Preview(note=f"Cannot be shown: {type(error).__name__}.")


def shorten(text: str, length: int = EXCERPT) -> str:
    """Return ``text`` on one line, cut after ``length`` characters with an ellipsis."""
    line = " ".join(text[: 8 * length].split())
    return line if len(line) <= length else line[:length].rstrip() + " …"


def _look_at(modality: Modality, value: Any) -> Preview:
    if isinstance(value, Mapping) and not {"bytes", "path"} & value.keys():
        return _look_at_parts(value)
    if modality == Modality.text:
        return Preview(text=shorten(str(value))) if str(value).strip() else Preview(note="Empty text.")
    if modality == Modality.image:
        return _thumbnail(_open(value))
    return Preview(note=f"{str(modality).capitalize()}: nothing to see.")


def _look_at_parts(parts: Mapping[str, Any]) -> Preview:
    """Look at the text and the image of an input made of several modalities."""
    text = shorten(str(parts.get("text") or ""))
    if parts.get("image") is not None:
        return replace(_thumbnail(_open(parts["image"])), text=text)
    return Preview(text=text, note="" if text else f"Made of {', '.join(map(str, parts))}: nothing to see.")


def _open(value: Any) -> Image.Image:
    """Return the image of a value as rows hold it: decoded, the content of a file, a path or a dict with either."""
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    return Image.open(io.BytesIO(value) if isinstance(value, bytes | bytearray) else Path(value))


def _thumbnail(image: Image.Image) -> Preview:
    image.draft("RGB", (LONG_SIDE, LONG_SIDE))  # a JPEG that isn't decoded yet is decoded at a fraction of its size
    small = image.convert("RGBA") if image.mode in ("P", "PA") else image.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    small = _on_white(ImageOps.exif_transpose(small))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Preview(jpeg=file.getvalue(), size=small.size)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits and more: no fixed white, so spread what is there
        low, high = image.convert("F").getextrema()
        image = image.convert("F").point(
            lambda value: value * (255 / ((high - low) or 1)) - low * 255 / (high - low or 1)
        )
        return image.convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")
