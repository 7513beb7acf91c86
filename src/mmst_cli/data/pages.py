"""`builtin:pages`: document pages drawn from a seed, and queries about them.

A page has six attributes: the colour of its header, a chart (kind, colour, quadrant) and a stamp (shape,
colour); 49,152 combinations. Everything else (shade, line lengths, chart values, jitter) is noise drawn from
the page's own seed. A query names all six attributes in varying words. Pages of `train` and `eval` have no
combination in common, and `eval` comes in groups of a page and three near misses of it, so that a score says how
well a model composes what it has seen, not what it remembers.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from PIL import __version__ as pillow_version

from mmst_cli.data import page_drawing
from mmst_cli.data.page_drawing import CHARTS, COLOURS, PLACES, STAMPS, Attributes, draw_page
from mmst_cli.storage import build_folder, cache_folder, digest

TRAIN_ROWS = 17_300
EVAL_ROWS = 400
NEAR_MISSES = 3  # pages of `eval` that differ from a page of it in one or two attributes
NAMES = ("train", "eval")
_EVAL_NOISE = 10_000_000  # noise seeds of eval pages start here, so that no noise is shared with train


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
    source = [Path(file).read_text(encoding="utf-8") for file in (__file__, page_drawing.__file__)]
    content = digest(source, pillow_version, name, rows, seed)

    def build(folder: Path) -> None:
        from datasets import Dataset, Features, Value
        from datasets import Image as ImageFeature

        features = Features({"query": Value("string"), "image": ImageFeature()})
        Dataset.from_list(list(generate_rows(name, rows, seed)), features=features).save_to_disk(folder)

    return build_folder(cache_folder() / f"pages-{name}-{content}", build)
