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
from pathlib import Path

from PIL import __version__ as pillow_version

from mmst_cli.builtin import combinations, page_drawing
from mmst_cli.builtin.combinations import Combinations
from mmst_cli.builtin.page_drawing import CHARTS, COLOURS, PLACES, STAMPS, Attributes, draw_page
from mmst_cli.storage import build_folder, cache_folder, digest

TRAIN_ROWS = 17_300
EVAL_ROWS = 400
NAMES = ("train", "eval")
_EVAL_NOISE = 10_000_000  # noise seeds of eval pages start here, so that no noise is shared with train

PAGES = Combinations(
    Attributes,
    {
        "header": list(COLOURS),
        "chart": CHARTS,
        "chart_colour": list(COLOURS),
        "place": PLACES,
        "stamp": STAMPS,
        "stamp_colour": list(COLOURS),
    },
)
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


def write_query(page: Attributes, rng: random.Random) -> str:
    """Ask for a page by all of its attributes, in an order and in words drawn from ``rng``."""
    parts = [rng.choice(wordings).format(**page.__dict__) for wordings in _PARTS]
    rng.shuffle(parts)
    return rng.choice(_FRAMES).format(" and ".join(parts))


def sample_queries(count: int, seed: int = 1) -> Iterator[str]:
    """Yield queries about pages drawn at random, for a tokenizer to learn its words from."""
    rng = random.Random(seed)
    return (write_query(PAGES.sample(rng), rng) for _ in range(count))


def generate_rows(name: str, rows: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield rows of ``train`` or ``eval`` with `query` (text) and `image` (PNG bytes of 96x128 pixels)."""
    held_out = PAGES.held_out(EVAL_ROWS if name == "train" else rows, seed)
    pages = held_out if name == "eval" else PAGES.others(rows, set(held_out), seed)
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
    source = [
        Path(file).read_text(encoding="utf-8") for file in (__file__, page_drawing.__file__, combinations.__file__)
    ]
    content = digest(source, pillow_version, name, rows, seed)

    def build(folder: Path) -> None:
        from datasets import Dataset, Features, Value
        from datasets import Image as ImageFeature

        features = Features({"query": Value("string"), "image": ImageFeature()})
        Dataset.from_list(list(generate_rows(name, rows, seed)), features=features).save_to_disk(folder)

    return build_folder(cache_folder() / f"pages-{name}-{content}", build)
