"""`builtin:clips`: clips of one moving shape drawn from a seed, and queries about them.

A clip has a look (shape, colour, ground; 72 of them) and a change (where it moves, how its size changes; 15). A
query names all of it in varying words. `train` and `eval` have no look in common, and `eval` shows every change of
each of its looks: whoever can't tell changes apart finds the right one of 15 by chance. No frame by itself tells a
movement (see `clip_drawing`).
"""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from PIL import __version__ as pillow_version

from mmst_cli.builtin import clip_drawing
from mmst_cli.builtin.clip_drawing import COLOURS, FPS, GROUNDS, MOVES, SHAPES, SIZES, ClipAttributes, draw_clip
from mmst_cli.storage import build_folder, cache_folder, digest

LOOKS = list(itertools.product(SHAPES, COLOURS, GROUNDS))
CHANGES = list(itertools.product(MOVES, SIZES))
EVAL_LOOKS = 27
TRAIN_ROWS = 8_000
EVAL_ROWS = EVAL_LOOKS * len(CHANGES)  # 405
NAMES = ("train", "eval")
_EVAL_NOISE = 10_000_000  # noise seeds of eval clips start here, so that no noise is shared with train
_FRAME_TIME = 1000 / FPS  # milliseconds

_MOVES = {
    "left": ["moving left", "moving from right to left", "sliding to the left"],
    "right": ["moving right", "moving from left to right", "sliding to the right"],
    "up": ["moving up", "rising", "sliding upwards"],
    "down": ["moving down", "falling", "sliding downwards"],
    "still": ["staying in place", "standing still"],
}
_SIZES = {
    "growing": ["growing", "getting bigger"],
    "shrinking": ["shrinking", "getting smaller"],
    "constant": ["keeping its size", "of constant size"],
}
_SENTENCES = [
    "a {colour} {shape} on {ground}, {move}, {size}",
    "a {colour} {shape} {move} on {ground} and {size}",
    "{size} and {move}: a {colour} {shape} on a {ground} ground",
    "on {ground}, a {colour} {shape} is {move} and {size}",
]


def write_query(clip: ClipAttributes, rng: random.Random) -> str:
    """Describe a clip by all of its attributes, in words drawn from ``rng``."""
    sentence, move, size = (rng.choice(wordings) for wordings in (_SENTENCES, _MOVES[clip.move], _SIZES[clip.size]))
    return sentence.format(shape=clip.shape, colour=clip.colour, ground=clip.ground, move=move, size=size)


def sample_queries(count: int, seed: int = 1) -> Iterator[str]:
    """Yield queries about clips drawn at random, for a tokenizer to learn its words from."""
    rng = random.Random(seed)
    return (write_query(ClipAttributes(*rng.choice(LOOKS), *rng.choice(CHANGES)), rng) for _ in range(count))


def eval_attributes(seed: int) -> list[ClipAttributes]:
    """Return the 405 clips of `eval`: every change of each of 27 looks, look by look."""
    looks = random.Random(seed).sample(LOOKS, EVAL_LOOKS)
    return [ClipAttributes(*look, *change) for look, change in itertools.product(looks, CHANGES)]


def train_attributes(rows: int, seed: int) -> list[ClipAttributes]:
    """Return ``rows`` clips of the looks that `eval` doesn't show."""
    held_out = {(clip.shape, clip.colour, clip.ground) for clip in eval_attributes(seed)}
    looks = [look for look in LOOKS if look not in held_out]
    rng = random.Random(f"train-{seed}")
    return [ClipAttributes(*rng.choice(looks), *rng.choice(CHANGES)) for _ in range(rows)]


def encode_clip(frames: NDArray[np.uint8]) -> bytes:
    """Write a clip of frames x height x width x RGB as a lossless animated PNG.

    Each frame is disposed of before the next one. Otherwise Pillow, as any writer of animated WebP or GIF, stores
    equal frames that follow one another as a single longer one, and a shape that stands still would have one frame.
    (Frames that are black all over are taken together even so; clips have none.)
    """
    first, *others = (Image.fromarray(frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        "PNG",
        save_all=True,
        append_images=others,
        duration=_FRAME_TIME,
        disposal=PngImagePlugin.Disposal.OP_BACKGROUND,
        blend=PngImagePlugin.Blend.OP_SOURCE,
        compress_level=1,
    )
    return file.getvalue()


def generate_rows(name: str, rows: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield rows of ``train`` or ``eval`` with `query` (text) and `clip` (8 frames of 32x32 pixels, 4 a second)."""
    clips = eval_attributes(seed)[:rows] if name == "eval" else train_attributes(rows, seed)
    rng = random.Random(f"{name}-queries-{seed}")
    first_noise = _EVAL_NOISE if name == "eval" else 0
    for index, clip in enumerate(clips):
        content = encode_clip(draw_clip(clip, first_noise + index))
        yield {"query": write_query(clip, rng), "clip": {"bytes": content, "path": None}}


def build_clips(name: str, rows: int | None = None, seed: int = 0) -> Path:
    """Return the folder of a `save_to_disk` dataset of generated clips, drawing it at the first call.

    Args:
        name: `train` or `eval`.
        rows: how many; 8,000 and 405 if left out, and no more than 405 of `eval`: it has one of each kind.
        seed: another seed, another collection.

    Raises:
        ValueError: more rows of `eval` than there are.
    """
    if name == "eval" and rows is not None and rows > EVAL_ROWS:
        raise ValueError(f"eval has at most {EVAL_ROWS} rows, asked for {rows}")
    rows = rows or (TRAIN_ROWS if name == "train" else EVAL_ROWS)
    source = [Path(file).read_text(encoding="utf-8") for file in (__file__, clip_drawing.__file__)]
    content = digest(source, np.__version__, pillow_version, name, rows, seed)

    def build(folder: Path) -> None:
        save_clips(generate_rows(name, rows, seed), folder)

    return build_folder(cache_folder() / f"clips-{name}-{content}", build)


def save_clips(rows: Iterator[dict[str, object]], folder: Path) -> None:
    """Save rows of `query` and `clip` as a `datasets` folder whose clips stay encoded until they are used."""
    from datasets import Dataset, Features, Value, Video

    features = Features({"query": Value("string"), "clip": Video(decode=False)})
    Dataset.from_list(list(rows), features=features).save_to_disk(folder)
