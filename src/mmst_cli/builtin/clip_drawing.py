"""How a clip of `builtin:clips` looks.

Shapes start anywhere and come back on the other side; they begin at any size, and what outgrows the largest goes on
from the smallest. So in every frame by itself each place and each size is as likely whatever the movement and the
growth are: only several frames together tell them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

FRAMES, SIDE = 8, 32  # frames; pixels
FPS = 4.0
# Bright shapes on dark grounds: with one polarity of contrast a movement is nearly linear in the pixels.
COLOURS: dict[str, Colour] = {
    "red": (235, 60, 60),
    "yellow": (245, 225, 60),
    "green": (70, 220, 90),
    "cyan": (70, 220, 230),
    "pink": (250, 120, 220),
    "white": (245, 245, 245),
}
GROUNDS: dict[str, Colour] = {"black": (8, 8, 8), "navy": (20, 20, 90), "maroon": (80, 15, 25), "forest": (15, 65, 25)}
SHAPES = {"disc": (1.0, 1.0), "pillar": (0.45, 1.3), "plank": (1.3, 0.45)}  # half width and height, in radii
MOVES = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
SIZES = {"growing": 1, "shrinking": -1, "constant": 0}
RADIUS = (0.14, 0.24)  # the least and the most, in sides of the picture
PATH, GROWTH = (0.5, 0.7), (0.4, 0.6)  # over a clip, least and most: in sides, and in ways from least to most radius
LIGHT = 8.0  # standard deviation of a clip's own tint, of 255


@dataclass(frozen=True)
class ClipAttributes:
    """What a clip shows and a query asks for: a look (shape, colour, ground) and a change (move, size)."""

    shape: str
    colour: str
    ground: str
    move: str
    size: str


def draw_clip(clip: ClipAttributes, noise: int) -> NDArray[np.uint8]:
    """Draw a clip as frames x height x width x RGB; place, path, radius and tint come from the seed ``noise``."""
    rng = np.random.default_rng(noise)
    time = np.linspace(0, 1, FRAMES)
    start, path, growth = rng.uniform(0, 1, 3), rng.uniform(*PATH), rng.uniform(*GROWTH)
    x, y = (begin + step * path * time for begin, step in zip(start[:2], MOVES[clip.move], strict=True))
    least, most = RADIUS
    radius = least * (most / least) ** ((start[2] + SIZES[clip.size] * growth * time) % 1)
    pixels = (np.arange(SIDE) + 0.5) / SIDE
    across = _wrapped(pixels[None, None, :] - x[:, None, None]) / radius[:, None, None]
    down = _wrapped(pixels[None, :, None] - y[:, None, None]) / radius[:, None, None]
    if clip.shape == "disc":
        inside = across**2 + down**2 < 1
    else:
        half_width, half_height = SHAPES[clip.shape]
        inside = (np.abs(across) < half_width) & (np.abs(down) < half_height)
    plain = np.array([COLOURS[clip.colour], GROUNDS[clip.ground]])
    colour, ground = np.clip(plain + rng.normal(0, LIGHT, (2, 3)), 0, 255).astype(np.uint8)
    frames: NDArray[np.uint8] = np.where(inside[..., None], colour, ground)
    return frames


def _wrapped(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shorter way round, from -0.5 to 0.5 sides: what leaves on one side comes back on the other."""
    return (distance + 0.5) % 1 - 0.5
