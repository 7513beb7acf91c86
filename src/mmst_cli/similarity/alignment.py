"""Laying one picture over another that was cut or scaled a little, and measuring where they still differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

Plane = npt.NDArray[np.float32]
"""One channel of a picture, shape (height, width), values 0 to 255."""

Levels = tuple[tuple[int, int], ...]

MAX_SCALE, MAX_SHIFT = 1.18, 0.12  # how much of a side may be cut or stretched away
# (side in pixels, steps): coarse first, since a step sees about one pixel far. Lines of text look alike once they are
# told apart, so that a picture must lie within half a line by then.
COARSE, FINE = ((16, 10), (32, 8)), ((64, 6), (128, 4))
_ROBUST = 20.0  # differences beyond this count less, so that what is new in one picture doesn't pull at the rest
_EDGE = 0.01  # of a side: outside of this the source has no pixels of its own


@dataclass(frozen=True)
class Alignment:
    """Where each point of one picture is in another: ``scale * u + shift`` along each axis, sides being 1 long."""

    x_scale: float = 1.0
    x_shift: float = 0.0
    y_scale: float = 1.0
    y_shift: float = 0.0


SAME_PLACE = Alignment()


def warp(plane: Plane, height: int, width: int, place: Alignment = SAME_PLACE) -> Plane:
    """Return what of ``plane`` lies at ``place``, with ``height`` x ``width`` pixels, averaged where it shrinks."""
    rows = _weights(height, plane.shape[0], place.y_scale, place.y_shift)
    columns = _weights(width, plane.shape[1], place.x_scale, place.x_shift)
    return np.asarray(rows @ plane @ columns.T, dtype=np.float32)


def _weights(out: int, source: int, scale: float, shift: float) -> Plane:
    """Return the share that each source pixel has in each output pixel, shape (out, source)."""
    centre = (((np.arange(out) + 0.5) / out) * scale + shift) * source - 0.5
    reach = max(1.0, source * scale / out)
    weights = np.maximum(0, 1 - np.abs(np.arange(source)[None] - centre[:, None]) / reach)
    found: Plane = (weights / np.maximum(weights.sum(1, keepdims=True), 1e-6)).astype(np.float32)
    return found


def align(a: Plane, b: Plane, levels: Levels, start: Alignment = SAME_PLACE, *, vertical: bool = True) -> Alignment:
    """Return where ``b`` lies in ``a``: the cut and scale that make them most alike.

    Gauss-Newton steps on the squared difference from coarse to fine, as Lucas and Kanade (1981) align images, for
    scale and shift along each axis.

    Args:
        a: the picture that is looked in.
        b: the one that is looked for; of any size.
        levels: sides of the pictures that are laid over each other, and the steps at each.
        start: where to begin.
        vertical: look along the vertical axis too; a spectrogram moves only in time.
    """
    place = np.array([start.x_scale, start.x_shift, start.y_scale, start.y_shift])
    free = slice(None) if vertical else slice(0, 2)
    for side, steps in levels:
        target = warp(b, side, side)
        along = (np.arange(side) + 0.5) / side
        for _ in range(steps):
            step = _step(warp(a, side, side, Alignment(*place)), target, along, place, free)
            place[free] += np.clip(step, -0.05, 0.05)
            place[[0, 2]] = np.clip(place[[0, 2]], 1 / MAX_SCALE, MAX_SCALE)
            place[[1, 3]] = np.clip(place[[1, 3]], -MAX_SHIFT, MAX_SHIFT)
            if np.abs(step).max() < 2e-4:
                break
    return Alignment(*map(float, place))


def _step(
    moved: Plane, target: Plane, along: npt.NDArray[np.float64], place: npt.NDArray[np.float64], free: slice
) -> npt.NDArray[np.float64]:
    side = len(along)
    to_x = np.gradient(moved, 1 / side, axis=1) / place[0]
    to_y = np.gradient(moved, 1 / side, axis=0) / place[2]
    slopes = np.stack([to_x * along[None], to_x, to_y * along[:, None], to_y], axis=-1).reshape(-1, 4)[:, free]
    difference = (target - moved).ravel()
    weighted = (slopes / (1 + np.abs(difference) / _ROBUST)[:, None]).T
    damping = 1e-3 * side * side * np.eye(slopes.shape[1])
    return np.asarray(np.linalg.solve(weighted @ slopes + damping, weighted @ difference))


def lay_over(a: Plane, b: Plane, place: Alignment, height: int, width: int) -> tuple[Plane, Plane]:
    """Return both pictures at the same size, ``a`` moved to ``place``, without the edges that only one of them has."""
    across = ((np.arange(width) + 0.5) / width) * place.x_scale + place.x_shift
    down = ((np.arange(height) + 0.5) / height) * place.y_scale + place.y_shift
    inside = np.ix_((down > _EDGE) & (down < 1 - _EDGE), (across > _EDGE) & (across < 1 - _EDGE))
    return warp(a, height, width, place)[inside], warp(b, height, width)[inside]


def largest_difference(a: Plane, b: Plane, region: int, *, reach: int = 1, margin: int = 0) -> float:
    """Return the largest mean difference over any square of ``region`` pixels a side, on the scale of the values.

    A pixel differs by how far it is outside of all that the other picture has within ``reach`` pixels around it, so
    that sharpness, compression and a small shift count for little, and a missing or recoloured part in full. Of
    every edge ``margin`` pixels don't count.
    """
    inner = slice(margin, -margin or None)
    return float(uniform_filter(_apart(a, b, reach)[inner, inner], region).max())


def mean_difference(a: Plane, b: Plane, *, reach: int = 1, margin: int = 0) -> float:
    """Return the mean over all pixels of what :func:`largest_difference` takes the largest of."""
    inner = slice(margin, -margin or None)
    return float(_apart(a, b, reach)[inner, inner].mean())


def _apart(a: Plane, b: Plane, reach: int = 1) -> Plane:
    found: Plane = np.maximum(_outside(a, b, reach), _outside(b, a, reach))
    return found


def _outside(a: Plane, b: Plane, reach: int) -> Plane:
    lowest, highest = minimum_filter(a, 2 * reach + 1), maximum_filter(a, 2 * reach + 1)
    found: Plane = np.maximum(0, np.maximum(b - highest, lowest - b))
    return found


def correlation(a: Plane, b: Plane, region: int) -> float:
    """Return the correlation of what stands out from its surroundings of ``region`` pixels; 1 where nothing does."""
    fine_a, fine_b = a - uniform_filter(a, region), b - uniform_filter(b, region)
    energy = float(np.sqrt((fine_a**2).sum() * (fine_b**2).sum()))
    return float((fine_a * fine_b).sum()) / energy if energy > a.size else 1.0
