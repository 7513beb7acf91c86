"""Models to begin with, by what they take."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mmst_cli.config.schema import Modality

_TEXT, _IMAGE, _AUDIO, _VIDEO = Modality.text, Modality.image, Modality.audio, Modality.video


@dataclass(frozen=True)
class Starter:
    """A built-in model for a first try, and a trained one that takes the same."""

    takes: frozenset[Modality]
    builtin: str
    trained: str
    settings: str = ""
    """Further lines of the file that the built-in one needs, each with its comment."""
    normalises_batches: bool = False
    """Whether it holds BatchNorm, which sees one mini-batch at a time."""


_PIXELS = """\
  processor:
    min_pixels: 1024
    max_pixels: 65536                      # 256 * 256: what it sees of an image; a trained model reads pages at 360000
"""
_SECONDS = """\
media: {max_seconds: 1}                    # the built-in model hears one second at a time, a trained one ten
"""
_FRAMES = """\
media: {max_frames: 8, max_pixels: 16384}  # what the built-in model sees of a clip; a trained one takes more of both
"""
STARTERS = (
    Starter(frozenset({_TEXT}), "builtin:tiny-text", "Qwen/Qwen3-Embedding-0.6B"),
    Starter(
        frozenset({_TEXT, _IMAGE, Modality.message, Modality.mixed}),
        "builtin:tiny-qwen3-vl",
        "Qwen/Qwen3-VL-Embedding-2B",
        _PIXELS,
    ),
    Starter(
        frozenset({_TEXT, _AUDIO}),
        "builtin:tiny-clap",
        "laion/clap-htsat-unfused",
        _SECONDS,
        normalises_batches=True,
    ),
    Starter(
        frozenset({_TEXT, _IMAGE, _VIDEO, Modality.message, Modality.mixed}),
        "builtin:tiny-qwen3-vl-video",
        "Qwen/Qwen3-VL-Embedding-2B",
        _FRAMES,
    ),
)


def starter_for(modalities: Collection[Modality]) -> Starter | None:
    """Return the smallest model that takes inputs of these modalities."""
    return next((starter for starter in STARTERS if starter.takes.issuperset(modalities)), None)
