"""`builtin:sounds`: short sounds made from a seed, and texts that describe them.

A sound has six attributes: how many tones it has, their pitch, timbre, glide and loudness, and the background;
2,160 combinations. Everything else (tuning, timing, phase, gain, noise) comes from the sound's own seed. A text names
all six attributes in varying words. Sounds of `train` and `eval` have no combination in common, and `eval` comes in
groups of a sound and three near misses of it, so that a score says how well a model composes what it has heard, not
what it remembers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy

from mmst_cli.builtin import combinations, sound_synthesis
from mmst_cli.builtin.combinations import Combinations
from mmst_cli.builtin.sound_synthesis import (
    BACKGROUNDS,
    COUNTS,
    GLIDES,
    LOUDNESSES,
    PITCHES,
    TIMBRES,
    Attributes,
    synthesise,
    write_wav,
)
from mmst_cli.storage import build_folder, cache_folder, digest

TRAIN_ROWS = 12_800
EVAL_ROWS = 400
NAMES = ("train", "eval")
_EVAL_NOISE = 10_000_000  # noise seeds of eval sounds start here, so that no noise is shared with train

SOUNDS = Combinations(
    Attributes,
    {
        "count": list(COUNTS),
        "pitch": list(PITCHES),
        "timbre": list(TIMBRES),
        "glide": list(GLIDES),
        "loudness": LOUDNESSES,
        "background": BACKGROUNDS,
    },
)
_PARTS = [
    ["{count} {pitch} {timbre} {tones}", "{count} {timbre} {tones} of {pitch} pitch"],
    ["{glide} in pitch", "with a {glide} pitch", "going {glide}"],
    ["{loudness} in volume", "with {loudness} loudness", "of {loudness} volume"],
    ["over {background}", "with {background} behind", "and {background} in the background"],
]
_TONES = ["tone", "beep", "note"]


def write_query(sound: Attributes, rng: random.Random) -> str:
    """Describe a sound by all of its attributes, in an order and in words drawn from ``rng``."""
    tones = rng.choice(_TONES) + ("" if sound.count == "one" else "s")
    parts = [rng.choice(wordings).format(**sound.__dict__, tones=tones) for wordings in _PARTS]
    rng.shuffle(parts)
    return ", ".join(parts)


def sample_queries(count: int, seed: int = 1) -> Iterator[str]:
    """Yield texts about sounds drawn at random, for a tokenizer to learn its words from."""
    rng = random.Random(seed)
    return (write_query(SOUNDS.sample(rng), rng) for _ in range(count))


def generate_rows(name: str, rows: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield rows of ``train`` or ``eval`` with `query` (text) and `sound` (WAV bytes: mono, 16 bit, 8 kHz, 1 s)."""
    held_out = SOUNDS.held_out(EVAL_ROWS if name == "train" else rows, seed)
    sounds = held_out if name == "eval" else SOUNDS.others(rows, set(held_out), seed)
    rng = random.Random(f"{name}-queries-{seed}")
    first_noise = _EVAL_NOISE if name == "eval" else 0
    for index, sound in enumerate(sounds):
        file = write_wav(synthesise(sound, first_noise + index))
        yield {"query": write_query(sound, rng), "sound": {"bytes": file, "path": None}}


def build_sounds(name: str, rows: int | None = None, seed: int = 0) -> Path:
    """Return the folder of a `save_to_disk` dataset of generated sounds, making it at the first call.

    Args:
        name: `train` or `eval`.
        rows: how many; 12,800 and 400 if left out, and no more than 400 of `eval`, which `train` holds out.
        seed: another seed, another collection.
    """
    if name == "eval" and rows is not None and rows > EVAL_ROWS:
        raise ValueError(f"eval has at most {EVAL_ROWS} rows, asked for {rows}")
    rows = rows or (TRAIN_ROWS if name == "train" else EVAL_ROWS)
    source = [
        Path(file).read_text(encoding="utf-8") for file in (__file__, sound_synthesis.__file__, combinations.__file__)
    ]
    content = digest(source, numpy.__version__, name, rows, seed)

    def build(folder: Path) -> None:
        from datasets import Audio, Dataset, Features, Value

        features = Features({"query": Value("string"), "sound": Audio(decode=False)})
        Dataset.from_list(list(generate_rows(name, rows, seed)), features=features).save_to_disk(folder)

    return build_folder(cache_folder() / f"sounds-{name}-{content}", build)
