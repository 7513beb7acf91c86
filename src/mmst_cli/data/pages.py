"""`builtin:pages`: document pages drawn from a seed, and queries about them.

A page has six attributes: the colour of its header, a chart (kind, colour, quadrant) and a stamp (shape,
colour); 49,152 combinations. Everything else (shade, line lengths, chart values, jitter) is noise drawn from
the page's own seed. A query names all six attributes in varying words. Pages of `train` and `eval` have no
combination in common, and `eval` comes in groups of a page and three near misses of it, so that a score says how
well a model composes what it has seen, not what it remembers.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, ImageDraw
from PIL import __version__ as pillow_version

from mmst_cli.storage import build_folder, cache_folder, digest

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

TRAIN_ROWS = 17_300
EVAL_ROWS = 400
NEAR_MISSES = 3  # pages of `eval` that differ from a page of it in one or two attributes
NAMES = ("train", "eval")
_EVAL_NOISE = 10_000_000  # noise seeds of eval pages start here, so that no noise is shared with train


@dataclass(frozen=True)
class Attributes:
    """What a page shows and a query asks for."""

    header: str
    chart: str
    chart_colour: str
    place: str
    stamp: str
    stamp_colour: str


_DOMAINS: dict[str, list[str]] = {
    "header": list(COLOURS),
    "chart": CHARTS,
    "chart_colour": list(COLOURS),
    "place": PLACES,
    "stamp": STAMPS,
    "stamp_colour": list(COLOURS),
}
_PARTS = [
    ["a {header} header", "a {header} title band", "a header in {header}"],
    [
        "a {chart_colour} {chart} at the {place}",
        "a {chart} in {chart_colour} at the {place}",
        "a {chart_colour} {chart} on the {place}",
    ],
    [
        "a {stamp_colour} {stamp} stamp",
        "a stamp shaped like a {stamp_colour} {stamp}",
        "a {stamp_colour} {stamp} at the foot",
    ],
]
_FRAMES = [
    "find the page with {}",
    "which page has {}?",
    "page with {}",
    "show me {}",
    "a document with {}",
    "where is the page that has {}?",
]


def sample_attributes(rng: random.Random) -> Attributes:
    """Draw one of the 49,152 combinations."""
    return Attributes(**{name: rng.choice(values) for name, values in _DOMAINS.items()})


def near_miss(page: Attributes, rng: random.Random, changes: int) -> Attributes:
    """Return ``page`` with ``changes`` attributes changed."""
    names = rng.sample(list(_DOMAINS), changes)
    return replace(page, **{n: rng.choice([v for v in _DOMAINS[n] if v != getattr(page, n)]) for n in names})


def write_query(page: Attributes, rng: random.Random) -> str:
    """Ask for a page by all of its attributes, in an order and in words drawn from ``rng``."""
    parts = [rng.choice(wordings).format(**page.__dict__) for wordings in _PARTS]
    rng.shuffle(parts)
    return rng.choice(_FRAMES).format(" and ".join(parts))


def sample_queries(count: int, seed: int = 1) -> Iterator[str]:
    """Yield queries about pages drawn at random, for a tokenizer to learn its words from."""
    rng = random.Random(seed)
    return (write_query(sample_attributes(rng), rng) for _ in range(count))


def eval_attributes(rows: int, seed: int) -> list[Attributes]:
    """Return ``rows`` different combinations in groups of near misses of one another."""
    rng = random.Random(seed)
    pages: dict[Attributes, None] = {}
    while len(pages) < rows:
        centre = sample_attributes(rng)
        group = [centre, *(near_miss(centre, rng, 1 + i // 2) for i in range(NEAR_MISSES))]
        if len(set(group)) == len(group) and not any(page in pages for page in group):
            pages.update(dict.fromkeys(group[: rows - len(pages)]))
    return list(pages)


def train_attributes(rows: int, held_out: set[Attributes], seed: int) -> list[Attributes]:
    """Return ``rows`` combinations, none of them in ``held_out``."""
    rng = random.Random(f"train-{seed}")
    pages: list[Attributes] = []
    while len(pages) < rows:
        page = sample_attributes(rng)
        if page not in held_out:
            pages.append(page)
    return pages


def generate_rows(name: str, rows: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield rows of ``train`` or ``eval`` with `query` (text) and `image` (PNG bytes of 96x128 pixels)."""
    held_out = eval_attributes(EVAL_ROWS if name == "train" else rows, seed)
    pages = held_out if name == "eval" else train_attributes(rows, set(held_out), seed)
    rng = random.Random(f"{name}-queries-{seed}")
    first_noise = _EVAL_NOISE if name == "eval" else 0
    for index, page in enumerate(pages):
        file = io.BytesIO()
        draw_page(page, first_noise + index).save(file, "PNG", compress_level=1)
        yield {"query": write_query(page, rng), "image": {"bytes": file.getvalue(), "path": None}}


def build_pages(name: str, rows: int | None = None, seed: int = 0) -> Path:
    """Return the folder of a `save_to_disk` dataset of generated pages, drawing it at the first call.

    Args:
        name: `train` or `eval`.
        rows: how many; 17,300 and 400 if left out, and no more than 400 of `eval`, which `train` holds out.
        seed: another seed, another collection.
    """
    if name == "eval" and rows is not None and rows > EVAL_ROWS:
        raise ValueError(f"eval has at most {EVAL_ROWS} rows, asked for {rows}")
    rows = rows or (TRAIN_ROWS if name == "train" else EVAL_ROWS)
    source = Path(__file__).read_text(encoding="utf-8")
    content = digest(source, pillow_version, name, rows, seed)

    def build(folder: Path) -> None:
        from datasets import Dataset, Features, Value
        from datasets import Image as ImageFeature

        features = Features({"query": Value("string"), "image": ImageFeature()})
        Dataset.from_list(list(generate_rows(name, rows, seed)), features=features).save_to_disk(folder)

    return build_folder(cache_folder() / f"pages-{name}-{content}", build)


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
