"""Colours as a screen shows them: images whose profile isn't sRGB are converted to it, as viewers and browsers do."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy
from PIL import Image, ImageCms

ALIKE = 2  # of 255: what a profile of sRGB by another name changes at most
_STEPS = 9  # a dimension, of the colours on which a profile is tried
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # what a profile is of, and Pillow's name for it


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image without transparency as RGB, its colours converted from its profile to sRGB.

    Args:
        image: of mode RGB, L or CMYK.
        profile: what the file holds as its ICC profile; colours are left as Pillow converts them without one, with one
            that can't be read or is of another kind of image, and with one that is sRGB.
    """
    transform = _transform(profile) if profile else None
    if transform is None or (image.mode == "CMYK") != (transform.inputMode == "CMYK"):
        return image.convert("RGB")
    if transform.inputMode == "L" and image.mode != "L":
        return image.convert("RGB")
    converted: Image.Image = transform.apply(image.convert(transform.inputMode))
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> Any:
    """Return what converts from a profile to sRGB; None where there is nothing to convert, or no way to."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES[source.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        tried = _colours(mode)
        changed = numpy.asarray(transform.apply(tried), dtype=int) - numpy.asarray(tried.convert("RGB"), dtype=int)
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError):  # as viewers do, show it without
        return None
    # Most profiles are sRGB in the words of some camera: those pixels stay what they are.
    return transform if numpy.abs(changed).max() > ALIKE else None


def _colours(mode: str) -> Image.Image:
    if mode == "L":
        return Image.fromarray(numpy.arange(256, dtype=numpy.uint8)[None])
    steps = numpy.linspace(0, 255, _STEPS).astype(numpy.uint8)
    grid = numpy.stack(numpy.meshgrid(*[steps] * len(mode), indexing="ij"), axis=-1).reshape(1, -1, len(mode))
    return Image.fromarray(numpy.ascontiguousarray(grid), mode=mode) if mode == "CMYK" else Image.fromarray(grid)
