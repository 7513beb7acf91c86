"""How a page of `builtin:pages` looks."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

WIDTH, HEIGHT = 96, 128  # pixels
COLOURS: dict[str, Colour] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (240, 215, 30),
    "green": (40, 150, 60),
    "cyan": (60, 205, 215),
    "blue": (40, 70, 210),
    "purple": (130, 50, 160),
    "pink": (245, 130, 190),
}
CHARTS = ["bar chart", "line chart", "pie chart", "table", "scatter plot", "photo"]
PLACES = ["top left", "top right", "bottom left", "bottom right"]
STAMPS = ["circle", "square", "triangle", "cross"]


@dataclass(frozen=True)
class Attributes:
    """What a page shows and a query asks for."""

    header: str
    chart: str
    chart_colour: str
    place: str
    stamp: str
    stamp_colour: str


def draw_page(page: Attributes, noise: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Draw a page at ``size`` pixels; what is not an attribute comes from the seed ``noise``."""
    rng = random.Random(noise)
    shade = rng.randint(238, 255)
    image = Image.new("RGB", size, (shade, shade, shade - rng.randint(0, 6)))
    pen = _Pen(ImageDraw.Draw(image), size[0] / WIDTH)
    pen.rectangle((0, 0, WIDTH, 11), fill=COLOURS[page.header])
    _draw_body(pen, page, rng)
    _draw_stamp(pen, page, rng)
    return image


class _Pen:
    """Draws in units of a 96x128 page at whatever size the page has."""

    def __init__(self, draw: ImageDraw.ImageDraw, scale: float) -> None:
        self.draw, self.scale = draw, scale

    def _at(self, points: tuple[float, ...]) -> list[float]:
        return [value * self.scale for value in points]

    def _width(self, width: float) -> int:
        return max(1, int(width * self.scale))

    def line(self, points: tuple[float, ...], fill: Colour, width: float = 1) -> None:
        self.draw.line(self._at(points), fill=fill, width=self._width(width))

    def rectangle(self, box: tuple[float, ...], fill: Colour) -> None:
        self.draw.rectangle(self._at(box), fill=fill)

    def frame(self, box: tuple[float, ...], outline: Colour, width: float) -> None:
        self.draw.rectangle(self._at(box), outline=outline, width=self._width(width))

    def circle(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.draw.ellipse(self._at((x - radius, y - radius, x + radius, y + radius)), fill=fill)

    def polygon(self, points: tuple[float, ...], fill: Colour) -> None:
        self.draw.polygon(self._at(points), fill=fill)


def _draw_body(pen: _Pen, page: Attributes, rng: random.Random) -> None:
    """Fill four quadrants: one with the chart, the others with lines of text."""
    top, height = 15.0, 45.5
    for index, place in enumerate(PLACES):
        x = 5 + 45 * (index % 2) + rng.uniform(-1, 1)
        y = top + (height + 1) * (index // 2) + rng.uniform(-1, 1)
        if place == page.place:
            _draw_chart(pen, page.chart, COLOURS[page.chart_colour], (x, y, 41, height - 3), rng)
            continue
        line = y + 1
        while line < y + height - 4:
            pen.line((x, line, x + rng.uniform(24, 40), line), (150, 150, 150))
            line += 4.5


def _draw_stamp(pen: _Pen, page: Attributes, rng: random.Random) -> None:
    x, y, r = rng.uniform(12, 84), 116 + rng.uniform(-1, 1), 8.5
    colour = COLOURS[page.stamp_colour]
    if page.stamp == "circle":
        pen.circle(x, y, r, colour)
    elif page.stamp == "square":
        pen.rectangle((x - r, y - r, x + r, y + r), colour)
    elif page.stamp == "triangle":
        pen.polygon((x, y - r, x + r, y + r, x - r, y + r), colour)
    else:
        pen.line((x - r, y - r, x + r, y + r), colour, 5)
        pen.line((x + r, y - r, x - r, y + r), colour, 5)


def _draw_chart(
    pen: _Pen, kind: str, colour: Colour, box: tuple[float, float, float, float], rng: random.Random
) -> None:
    x, y, w, h = box
    if kind in ("bar chart", "line chart", "scatter plot"):
        pen.line((x, y, x, y + h, x + w, y + h), (60, 60, 60), 1.5)
    if kind == "bar chart":
        for i in range(5):
            top = y + h - rng.uniform(0.25, 1) * (h - 2)
            pen.rectangle((x + 3 + i * 7.6, top, x + 8 + i * 7.6, y + h - 1), colour)
    elif kind == "line chart":
        heights = [y + h - 3 - rng.uniform(0, 1) * (h - 6) for _ in range(6)]
        pen.line(tuple(v for i, t in enumerate(heights) for v in (x + 3 + i * 7, t)), colour, 3)
    elif kind == "scatter plot":
        for _ in range(12):
            pen.circle(x + rng.uniform(4, w - 2), y + rng.uniform(2, h - 4), 2, colour)
    elif kind == "table":
        pen.frame((x, y, x + w, y + h), colour, 2)
        for i in (1, 2, 3):
            pen.line((x, y + h * i / 4, x + w, y + h * i / 4), colour, 2)
        for i in (1, 2):
            pen.line((x + w * i / 3, y, x + w * i / 3, y + h), colour, 2)
    elif kind == "pie chart":
        _draw_pie(pen, colour, (x + w / 2, y + h / 2, min(w, h) / 2 - 0.5), rng)
    else:  # a photo: a filled frame with a dark hill in it
        pen.rectangle((x, y, x + w, y + h), colour)
        peak = x + rng.uniform(8, w - 8)
        dark = (int(colour[0] * 0.55), int(colour[1] * 0.55), int(colour[2] * 0.55))
        pen.polygon((x, y + h, peak, y + h * 0.35, x + w, y + h), dark)


def _draw_pie(pen: _Pen, colour: Colour, disc: tuple[float, float, float], rng: random.Random) -> None:
    x, y, radius = disc
    angle = rng.uniform(0, 360)
    pen.circle(x, y, radius, colour)
    for _ in range(3):
        angle += rng.uniform(70, 130)
        end = (x + radius * math.cos(math.radians(angle)), y + radius * math.sin(math.radians(angle)))
        pen.line((x, y, *end), (255, 255, 255), 2)
