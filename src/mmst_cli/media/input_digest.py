"""Names of decoded content: the same for the same input, whatever file it came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import xxhash
from PIL import Image

_WHOLE = "digest of the whole image"  # in the info of an image that was scaled down


def keep_digest(image: Image.Image, smaller: Image.Image) -> Image.Image:
    """Return a smaller version of an image, which has the name of the whole one."""
    return name_as_whole(smaller, digest_of_input("image", image))


def name_as_whole(image: Image.Image, digest: bytes | None) -> Image.Image:
    """Return an image under the name of the one that it was scaled down from; None if it wasn't."""
    if digest is not None:
        image.info[_WHOLE] = digest
    return image


def digest_of_whole(image: Image.Image) -> bytes | None:
    """Return the name of the image that one was scaled down from; None if it wasn't."""
    digest: bytes | None = image.info.get(_WHOLE)
    return digest


def digest_of_input(modality: str, value: Any) -> bytes:
    """Return 16 bytes that name an input by its decoded content.

    Texts are the same if every character is; images, if mode, size and all pixels are, whatever file
    format they came in; inputs of several parts, if all parts are.

    Raises:
        TypeError: the value is of no kind that an input has.
    """
    if modality == "image" and isinstance(value, Image.Image) and _WHOLE in value.info:
        return bytes(value.info[_WHOLE])
    return hash_parts(_parts(value), modality.encode()).digest()


def hash_parts(parts: Iterable[bytes], beginning: bytes = b"") -> xxhash.xxh3_128:
    """Return the hash, of 16 bytes, of what comes in parts."""
    hasher = xxhash.xxh3_128(beginning)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))  # else "ab", "c" would be "a", "bc"
        hasher.update(part)
    return hasher


def _parts(value: Any) -> Iterator[bytes]:
    """Yield what a value is made of, each part's kind before its content."""
    if isinstance(value, str):
        yield from (b"text", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, Image.Image) and _WHOLE in value.info:
        yield from (b"scaled image", value.info[_WHOLE])
    elif isinstance(value, Image.Image):
        yield f"image {value.mode} {value.size}".encode()
        yield bytes(value.getpalette() or ()) if value.mode in ("P", "PA") else b""
        yield value.tobytes()
    elif isinstance(value, np.ndarray):
        yield from (f"array {value.dtype} {value.shape}".encode(), value.tobytes())
    elif isinstance(value, Mapping):
        yield f"mapping of {len(value)}".encode()
        for name in sorted(value):
            yield name.encode()
            yield from _parts(value[name])
    elif isinstance(value, list | tuple):
        yield f"list of {len(value)}".encode()
        for entry in value:
            yield from _parts(entry)
    elif isinstance(value, int | float | None):
        yield repr(value).encode()
    else:
        raise TypeError(f"a document holds no {type(value).__name__}")
