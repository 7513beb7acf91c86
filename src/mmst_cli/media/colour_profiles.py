"""Colours as a screen shows them: images whose profile isn't sRGB are converted to it, as viewers and browsers do."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy
from PIL import Image, ImageCms

ALIKE = 2  # of 255: what a profile of sRGB by another name changes at most
_STEPS = 9  # a dimension, of the colours on which a profile is tried
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # what a profile is of, and Pillow's name for it

Numbers = tuple[float, ...]

_SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)  # x and y of white, red, green and blue
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50 = (0.9642, 1.0, 0.8249)
_CONES = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))  # Bradford's


def profile_of(image: Image.Image) -> bytes | None:
    """Return the ICC profile of an image, or one that says the same as the gamma and the primaries of a PNG."""
    info = image.info
    profile: bytes | None = info.get("icc_profile")
    if profile or "srgb" in info or not {"gamma", "chromaticity"} & info.keys():
        return profile
    gamma, primaries = info.get("gamma") or 0.0, tuple(info.get("chromaticity", _SRGB_PRIMARIES))
    # Programs that can't say sRGB write its primaries and a gamma of 1/2.2, which is nearly its curve.
    if numpy.allclose(primaries, _SRGB_PRIMARIES, atol=0.003) and (abs(2.2 * gamma - 1) < 0.05 or not gamma):
        return None
    return _write_profile(primaries, (1 / gamma,) if gamma else _SRGB_CURVE)


@lru_cache(maxsize=32)
def _write_profile(primaries: Numbers, curve: Numbers) -> bytes | None:
    """Return an ICC profile of these primaries and this curve; None where the primaries are no colours."""
    x, y = numpy.array(primaries).reshape(4, 2).T
    try:
        with numpy.errstate(divide="raise", invalid="raise"):
            white, *colours = (numpy.stack([x, y, 1 - x - y]) / y).T
            colours = numpy.array(colours).T
            seen = numpy.array(_CONES)
            adapted = numpy.linalg.inv(seen) @ numpy.diag(seen @ _D50 / (seen @ white)) @ seen
            columns = adapted @ (colours * numpy.linalg.solve(colours, white))
        return _join_profile([_D50, *columns.T], curve)
    except (ArithmeticError, numpy.linalg.LinAlgError, struct.error):
        return None


def _join_profile(points: Iterable[Any], curve: Numbers) -> bytes:
    def fixed(values: Iterable[float]) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    names = (b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {name: b"XYZ \0\0\0\0" + fixed(point) for name, point in zip(names, points, strict=True)}
    shape = struct.pack(">HH", 0 if len(curve) == 1 else 3, 0)  # a power, or one that begins as a line
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), b"para\0\0\0\0" + shape + fixed(curve))
    table, data = b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content
    size = 132 + len(table) + len(data)
    head = struct.pack(">I4xI", size, 0x04000000) + b"mntrRGB XYZ ".ljust(24, b"\0") + b"acsp".ljust(32, b"\0")
    return (head + fixed(_D50)).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


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
