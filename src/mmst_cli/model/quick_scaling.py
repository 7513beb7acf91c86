"""Images of a size that comes again and again, scaled by the processor's own resizing straight from Pillow's memory.

A processor copies an image's planes apart before it scales them, which takes as long as the scaling; torchvision scales
pixels that lie side by side, as Pillow keeps them, in half the time, and to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from mmst_cli.model.image_planes import pixels_of

LEAST = 500_000  # pixels, from which on it is worth it
AFTER = 8  # images of a size: finding out how one is scaled takes as long as scaling some
SIZES = 1_000  # that are remembered

Size = tuple[int, int]
_IMAGE = object()


class Call(NamedTuple):
    """How a processor scales an image."""

    method: Callable[..., Any]
    arguments: tuple[Any, ...]
    """With _IMAGE in the place of the image."""
    options: dict[str, Any]
    """Likewise."""
    in_batch: bool = False
    """Whether the image is of shape (1, 3, height, width), or of (3, height, width)."""


class QuickScaling:
    """Scales images as a processor does.

    Args:
        find: from a width and height to how the processor scales images of it; None where it doesn't just scale them.
        scale: scales an image by the processor, to compare with.
    """

    def __init__(self, find: Callable[[Size], Call | None], scale: Callable[[Image.Image], Image.Image | None]) -> None:
        self._find, self._scale = find, scale
        self._works: bool | None = None  # unknown until it was compared
        self._seen: dict[Size, int] = {}
        self._calls: dict[Size, Call | None] = {}

    def __call__(self, image: Image.Image) -> Image.Image | None:
        """Return an RGB image scaled; None where that isn't known, or not worth it."""
        size = image.size
        if self._works is False or size[0] * size[1] < LEAST or not self._comes_again(size):
            return None
        pixels = pixels_of(image)
        if pixels is None:  # nothing is found out about a size of which none will be scaled here
            return None
        if size not in self._calls:
            self._calls[size] = self._find(size)
        call = self._calls[size]
        if call is None:
            return None
        scaled = _scaled(call, pixels)
        if self._works is None:
            expected = self._scale(image)
            self._works = scaled is not None and expected is not None and _same(scaled, expected)
        return scaled if self._works else None

    def _comes_again(self, size: Size) -> bool:
        seen = self._seen.get(size, 0)
        if seen < AFTER and (seen or len(self._seen) < SIZES):
            self._seen[size] = seen + 1
        return seen >= AFTER


def without_image(call: Call) -> Call | None:
    """Return a call with a place for the image that it is given; None where it is given none, or several."""
    images = list(filter(_is_image, [*call.arguments, *call.options.values()]))
    return _replaced(call, _is_image, _IMAGE)._replace(in_batch=images[0].ndim == 4) if len(images) == 1 else None


def _replaced(call: Call, wanted: Callable[[Any], bool], new: Any) -> Call:
    kept = tuple(new if wanted(value) else value for value in call.arguments)
    options = {name: new if wanted(value) else value for name, value in call.options.items()}
    return call._replace(arguments=kept, options=options)


def _is_image(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.ndim in (3, 4) and tuple(value.shape[-4:-2]) in ((1, 3), (3,))


def _scaled(call: Call, pixels: np.ndarray) -> Image.Image | None:
    image = torch.from_numpy(pixels).permute(2, 0, 1)  # of four channels side by side
    call = _replaced(call, lambda value: value is _IMAGE, image[None] if call.in_batch else image)
    result = call.method(*call.arguments, **call.options)
    if not isinstance(result, torch.Tensor) or result.dtype != torch.uint8:
        return None
    if tuple(result.shape[-4:-2]) not in ((1, 4), (4,)):
        return None
    rows = (result[0] if result.ndim == 4 else result).permute(1, 2, 0).contiguous().numpy()
    return Image.frombytes("RGB", (rows.shape[1], rows.shape[0]), rows.tobytes(), "raw", "RGBX")


def _same(one: Image.Image, other: Image.Image) -> bool:
    return bool(one.size == other.size and one.tobytes() == other.tobytes())
