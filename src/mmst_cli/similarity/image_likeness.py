"""Pictures that show the same, whatever file, size or encoding they came in and however little was cut off.

Found in three steps, each on fewer pairs: the nearest by a coarse signature (a perceptual hash that keeps its values),
a test whether the signatures can be of one picture at all, and a comparison of the aligned pictures, region by region.
The bounds are measured (``tests/similarity/test_image_likeness.py`` holds the cases): re-encoding down to JPEG quality
30, resizing from a half to one and a half, and cuts of up to 5% a side differ by up to 20 in the worst region and
correlate at 0.84 or more; the most alike of different pages of text correlate at 0.71, of drawn pages differ by 80.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from mmst_cli.similarity.alignment import (
    COARSE,
    FINE,
    SAME_PLACE,
    Alignment,
    Plane,
    align,
    correlation,
    largest_difference,
    lay_over,
    mean_difference,
)

Arrays = Mapping[str, npt.NDArray[Any]]

LUMA, CHROMA, SIGNATURE = 160, 32, 16  # sides in pixels; every picture is squeezed into these squares
COMPARED = 128  # of the aligned pictures: what moved by a fraction of a pixel is blurred at full size
COARSE_SIDE, FLAT = 32, 4.0  # pixels, and the deviation of values up to which a picture shows nothing
MAX_COARSE, MAX_COARSE_MEAN = 30.0, 2.4  # differences at that size: copies have 23 and 1.6 at most
MAX_LUMA, MAX_CHROMA, MIN_CORRELATION = 21.0, 20.0, 0.8
# Differences of signatures beyond which nothing that is done to a picture takes it: 48 at one place and 1.25 in the
# mean were the most on pages and photos, 66 and 2.8 on coloured noise; most neighbours that are other pages are beyond.
MAX_SIGNATURE, MAX_SIGNATURE_MEAN = 66.0, 2.5
MAX_ASPECT = 1.15  # ratio of aspect ratios


def sketch_image(image: Image.Image, size: tuple[int, int] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Return what is kept of a picture to compare it by.

    Args:
        image: the picture, in RGB; it may have been decoded at a smaller scale, of ``LUMA`` pixels a side or more.
        size: its real width and height then.

    Returns:
        ``luma`` of shape (160, 160), ``chroma`` (32, 32, 2), ``signature`` (768,), all uint8; ``size`` (2,), int64.
    """
    smooth = Image.Resampling.BOX if min(image.size) > LUMA else Image.Resampling.BILINEAR
    luma = image.convert("L").resize((LUMA, LUMA), smooth)
    chroma = image.resize((CHROMA, CHROMA), Image.Resampling.BOX).convert("YCbCr")
    colours = np.asarray(chroma)[..., 1:]
    coarse = [np.asarray(luma.reduce(LUMA // SIGNATURE)), *np.moveaxis(_halved(colours), -1, 0)]
    return {
        "luma": np.asarray(luma),
        "chroma": colours,
        "signature": np.stack(coarse).reshape(-1),
        "size": np.array(size or image.size, dtype=np.int64),
    }


def _halved(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    step = CHROMA // SIGNATURE
    blocks = colours.reshape(SIGNATURE, step, SIGNATURE, step, 2).astype(np.float32)
    found: npt.NDArray[np.uint8] = blocks.mean(axis=(1, 3)).round().astype(np.uint8)
    return found


def may_be_same(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Say of pairs of signatures, both of shape (pairs, 768), whether one picture may have given both.

    A pixel of a signature may have moved into the next one, so each is compared with all around it.
    """
    shape = (-1, 3, SIGNATURE, SIGNATURE)
    one, other = a.reshape(shape).astype(np.int16), b.reshape(shape).astype(np.int16)
    around = (1, 1, 3, 3)
    apart = np.maximum(
        np.maximum(other - maximum_filter(one, around), minimum_filter(one, around) - other),
        np.maximum(one - maximum_filter(other, around), minimum_filter(other, around) - one),
    )
    inner = apart[..., 1:-1, 1:-1]  # an edge may have been cut off
    mean = np.maximum(inner, 0).mean(axis=(1, 2, 3))
    found: npt.NDArray[np.bool_] = (inner.max(axis=(1, 2, 3)) < MAX_SIGNATURE) & (mean < MAX_SIGNATURE_MEAN)
    return found


def are_near(a: Arrays, b: Arrays) -> bool:
    """Whether two pictures show the same; both are what :func:`sketch_image` returned."""
    (width_a, height_a), (width_b, height_b) = a["size"].tolist(), b["size"].tolist()
    aspects = sorted((width_a / height_a, width_b / height_b))
    if aspects[1] > MAX_ASPECT * aspects[0]:
        return False
    if not may_be_same(a["signature"][None], b["signature"][None])[0]:
        return False
    luma_a, luma_b = a["luma"].astype(np.float32), b["luma"].astype(np.float32)
    # Within two of 32 pixels, as far as anything moves by a cut, there must be something alike.
    if not _alike(_shrunk(luma_a), _shrunk(luma_b), reach=2, margin=2):
        return False
    coarse = align(luma_a, luma_b, COARSE)
    if not _alike(*lay_over(luma_a, luma_b, coarse, COARSE_SIDE, COARSE_SIDE)):
        return False
    # No sharper than the smaller of the two can be.
    width, height = min(COMPARED, width_a, width_b), min(COMPARED, height_a, height_b)
    region = max(3, round(min(width, height) / 16))
    place, alike = _best_place(luma_a, luma_b, coarse, (height, width), 2 * region)
    if alike <= MIN_CORRELATION:
        return False
    if largest_difference(*lay_over(luma_a, luma_b, place, height, width), region) >= MAX_LUMA:
        return False
    return all(_chroma_difference(a, b, channel, place) < MAX_CHROMA for channel in (0, 1))


def _alike(a: Plane, b: Plane, **where: int) -> bool:
    """Whether two small pictures may be one; most that aren't are told apart here, before finer steps are taken."""
    if largest_difference(a, b, 3, **where) > MAX_COARSE:
        return False
    are_flat = a.std() < FLAT and b.std() < FLAT  # a shade lighter all over, a blank page is blank all the same
    return are_flat or mean_difference(a, b, **where) <= MAX_COARSE_MEAN


def _shrunk(luma: Plane) -> Plane:
    step = LUMA // COARSE_SIDE
    found: Plane = luma.reshape(COARSE_SIDE, step, COARSE_SIDE, step).mean(axis=(1, 3))
    return found


def _best_place(a: Plane, b: Plane, coarse: Alignment, size: tuple[int, int], region: int) -> tuple[Alignment, float]:
    """Return the place at which two pictures are most alike, and how much they are.

    Finer steps find it where something was cut off, and lose it in the moiré of small print where nothing was.
    """
    places = [SAME_PLACE, coarse]
    for level in FINE:
        places.append(align(a, b, (level,), places[-1]))
    found = [correlation(*lay_over(a, b, place, *size), region) for place in places]
    best = int(np.argmax(found))
    return places[best], found[best]


def _chroma_difference(a: Arrays, b: Arrays, channel: int, place: Alignment) -> float:
    side = 3 * CHROMA // 4
    colours_a, colours_b = (arrays["chroma"][..., channel].astype(np.float32) for arrays in (a, b))
    one, other = lay_over(colours_a, colours_b, place, side, side)
    return largest_difference(one[1:-1, 1:-1], other[1:-1, 1:-1], 2)
