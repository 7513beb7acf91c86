"""What there is to encode, one input at a time, before it is read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from mmst_cli.config.schema import Modality

Modalities = tuple[Modality, ...]  # of one input, in alphabetical order as sentence-transformers has them


@dataclass(frozen=True)
class Item:
    """One input that isn't read yet."""

    id: str
    """The path as given, `file#row`, or `-#line`; rows and lines count from 0."""
    modalities: Modalities
    """What it holds."""
    read: Callable[[], Any]
    """Reads and decodes it into a model input; raises whatever its decoder raises."""


@dataclass(frozen=True)
class Source:
    """One input of the command line."""

    name: str
    """As given."""
    modalities: Modalities
    """What each of its items holds."""
    items: Callable[[], Iterator[Item]]
    """Walks through it in an order that is always the same, without reading what isn't asked for."""
    count: int | None = None
    """Number of items; None where only reading would tell."""
    bytes: int | None = None
    """Size of a file of many rows, to notice that it changed."""
    skipped: int = 0
    """Files of a folder that are no images."""


def read_image(file: Path | bytes) -> Image.Image:
    """Return a whole, upright RGB image.

    Raises:
        OSError: it isn't there, is truncated, or is no image.
    """
    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
        image.load()  # here, so that a truncated file fails alone and not in the middle of a batch
        upright = ImageOps.exif_transpose(image)
        # Image processors convert in the same way, where they do it at all.
        return upright if upright.mode == "RGB" else upright.convert("RGB")
