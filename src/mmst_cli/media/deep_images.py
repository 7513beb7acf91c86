"""Images of more than 8 bits a colour, as the 8 bits that a screen shows of them; Pillow gets some of them wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.media.content import name_of

Values = numpy.ndarray[Any, Any]

_BITS, _PHOTOMETRIC = 258, 262  # tags of a TIFF
_SIZE_MARKER = b"\xff\x4f\xff\x51"  # that a JPEG 2000 stream begins with
_DEPTH_AT = 42  # bytes from there: the bits of the first colour, less one


def scale_16_bits(values: Values) -> Values:
    """Return uint16 values as uint8."""
    return numpy.rint(values / 257).astype(numpy.uint8)


def from_16_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 bits as one of 8, white where it is transparent.

    Pillow would clip at 255 what is above it, and show most pages white.

    Raises:
        DataError: it holds values that are no 16 bits.
    """
    values, clear = numpy.asarray(image), image.info.get("transparency")
    if values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"an image with values from {values.min()} to {values.max()}; save it with 8 or 16 bits a pixel."
        )
    grey = scale_16_bits(values)
    return Image.fromarray(grey if clear is None else numpy.where(values == clear, numpy.uint8(255), grey))


def with_white_at_the_top(image: Image.Image, tags: Any) -> Image.Image:
    """Return a grey image of 16 bits that came from a TIFF so that 65535 is white.

    Pillow leaves the values of 12 bits as they are, and those of a file in which 0 is white.

    Args:
        image: of mode ``I;16`` or the like.
        tags: of the file, by number.
    """
    twelve, negative = tags.get(_BITS) == (12,), tags.get(_PHOTOMETRIC) == 0
    if not (twelve or negative):
        return image
    values = numpy.asarray(image)
    values = numpy.rint(values * (65535 / 4095)).astype(numpy.uint16) if twelve else values
    scaled = Image.fromarray(65535 - values if negative else values)
    scaled.info = image.info
    return scaled


def check_depth(image: Image.Image, content: Path | bytes) -> None:
    """Check that an image is none of JPEG 2000 whose colours have more than 8 bits: Pillow turns their white to black.

    Raises:
        DataError: it is one.
    """
    if image.format != "JPEG2000" or image.mode.startswith("I"):
        return
    stream = content if isinstance(content, bytes) else content.read_bytes()
    depth = (stream[stream.find(_SIZE_MARKER) + _DEPTH_AT] & 0x7F) + 1
    if depth > 8:
        raise DataError(
            f"{name_of(content)}a JPEG 2000 image of {depth} bits a colour, which can't be read here; save it as PNG."
        )
