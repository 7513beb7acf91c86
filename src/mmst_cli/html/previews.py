"""A small look at a query or a document: a thumbnail, an excerpt, or a sentence that says why there is neither."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mmst_cli.config.schema import Modality
from mmst_cli.errors import excerpt
from mmst_cli.media.message import parts_of

LONG_SIDE = 240  # pixels of a thumbnail
JPEG_QUALITY = 70
EXCERPT = 280  # characters
GAP = 2  # pixels between the frames of a clip
WAVE_HEIGHT, WAVE_COLOUR = 48, "#4c6ef5"  # pixels

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


def _look_at(modality: Modality, value: Any) -> Preview:
    if modality == Modality.text:
        return Preview(text=excerpt(str(value), EXCERPT)) if str(value).strip() else Preview(note="Empty text.")
    if modality == Modality.image:
        return _thumbnail(value)
    if modality == Modality.audio:
        return _waveform(value)
    if modality == Modality.video:
        return _thumbnail(_frames(value))
    if modality == Modality.message:
        return _look_at_parts([(part["type"], part[part["type"]]) for _, part in parts_of(value)])
    return _look_at_parts([(str(name), part) for name, part in value.items()])


def _look_at_parts(parts: Sequence[tuple[str, Any]]) -> Preview:
    """Look at the texts, and at the first of the media, of an input made of several."""
    text = excerpt(" ".join(str(part) for name, part in parts if name == Modality.text and part), EXCERPT)
    media = next(((name, part) for name, part in parts if name != Modality.text and part is not None), None)
    if media is not None:
        return replace(_look_at(Modality(media[0]), media[1]), text=text)
    return Preview(text=text, note="" if text else "Nothing to see.")


def _frames(clip: Mapping[str, Any]) -> Image.Image:
    """Return the first, the middle and the last frame side by side."""
    frames = clip["array"]
    shown = [Image.fromarray(frames[index]) for index in sorted({0, len(frames) // 2, len(frames) - 1})]
    width, height = shown[0].size
    strip = Image.new("RGB", ((width + GAP) * len(shown) - GAP, height), "white")
    for place, frame in enumerate(shown):
        strip.paste(frame, (place * (width + GAP), 0))
    return strip


def _waveform(sound: Mapping[str, Any]) -> Preview:
    """Return the loudness of a sound over time as an image, with its length in words."""
    samples = np.abs(np.asarray(sound["array"], dtype=np.float32))
    seconds = len(samples) / sound["sampling_rate"]
    peaks = [chunk.max() for chunk in np.array_split(samples, min(LONG_SIDE, len(samples)))]
    image = Image.new("RGB", (len(peaks), WAVE_HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    for x, peak in enumerate(peaks):
        reach = min(1.0, float(peak)) * (WAVE_HEIGHT / 2 - 1)
        pen.line([(x, WAVE_HEIGHT / 2 - reach), (x, WAVE_HEIGHT / 2 + reach)], fill=WAVE_COLOUR)
    return replace(_thumbnail(image), text=f"{seconds:.1f} s of sound")


def _thumbnail(image: Image.Image) -> Preview:
    small = image.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Preview(jpeg=file.getvalue(), size=small.size)
