"""How much of an input a model sees: tokens, pixels and frames, counted in what its processor returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mmst_cli.media.frame_choice import whole_clip
from mmst_cli.model.model_parts import processor_part

COLOURS = 3
_MASKS = ("pixel_attention_mask", "pixel_mask")
_POSITIONS = ("position_ids", "image_position_ids", "video_position_ids", "pixel_position_ids")


@dataclass(frozen=True)
class SeenClip:
    """What a processor made of a clip."""

    frames: int
    """Whole temporal patches; the last of them may repeat the last frame."""
    pixels: int
    """Of one frame."""


def token_counts(features: Mapping[str, Any], count: int) -> npt.NDArray[np.float64] | None:
    """Return how many tokens each of so many inputs has; None where their processor says nothing of it."""
    mask = features.get("attention_mask")
    return None if mask is None or len(mask) != count else mask.sum(dim=1).double().numpy()


def pixels_of(encoder: Any, features: Mapping[str, Any]) -> int:
    """Return how many pixels an encoder's processor made of an image, by the features of that image alone.

    All tiles count, and patches for the pixels they are made of; what only pads them doesn't.
    """
    grid = features.get("image_grid_thw")
    if grid is not None:
        patch = int(processor_part(encoder, "image").patch_size)
        return int(grid[0].prod()) * patch * patch
    return _count_pixels(_joined(features["pixel_values"]), features)


def clip_of(encoder: Any, features: Mapping[str, Any]) -> SeenClip:
    """Return what an encoder's processor made of a clip, by the features of that clip alone."""
    grid = features.get("video_grid_thw")
    if grid is not None:
        patch = int(processor_part(encoder, "video").patch_size)
        time, rows, columns = (int(size) for size in grid[0])
        return SeenClip(time * temporal_patch(encoder), rows * columns * patch * patch)
    # Some processors return frames under the name that images have.
    values = _joined(features["pixel_values_videos"] if "pixel_values_videos" in features else features["pixel_values"])
    # What stands before channels, height and width, or before patches and their values: clips, frames, tiles.
    seen = prod(values.shape[: -3 if _is_picture(values) else -2])
    return SeenClip(seen, _count_pixels(values, features) // max(1, seen))


def see_clip(encoder: Any, frames: int, height: int, width: int, fps: float) -> SeenClip:
    """Return what an encoder's processor makes of a clip of so many frames of so many pixels."""
    array = np.zeros((frames, height, width, COLOURS), dtype=np.uint8)
    features = encoder.preprocess([{"video": {"array": array, "video_metadata": whole_clip(frames, fps)}}])
    return clip_of(encoder, features)


def temporal_patch(encoder: Any) -> int:
    """Return how many frames of a clip an encoder takes at a time."""
    return int(getattr(processor_part(encoder, "video"), "temporal_patch_size", None) or 1)


def _joined(values: Any) -> torch.Tensor:
    """Return pixels as one tensor, where some processors have a list of them."""
    while isinstance(values, list | tuple) and len(values) == 1:
        values = values[0]
    if isinstance(values, list | tuple):
        return torch.cat([torch.as_tensor(_joined(value)) for value in values])
    return torch.as_tensor(values)


def _is_picture(values: torch.Tensor) -> bool:
    """Tell (..., channels, height, width) from (..., patches, values of a patch)."""
    return values.ndim >= 4 and values.shape[-3] in (1, COLOURS)


def _count_pixels(values: torch.Tensor, features: Mapping[str, Any]) -> int:
    if _is_picture(values):
        sizes = (*values.shape[:-3], *values.shape[-2:])
        mask = _find(features, _MASKS, sizes)
        return prod(sizes) if mask is None else int(mask.sum())
    sizes = tuple(values.shape[:-1])
    mask, positions = _find(features, _MASKS, sizes), _find(features, _POSITIONS, (*sizes, 2))
    if positions is not None:
        mask = (positions >= 0).all(dim=-1)
    patches = prod(sizes) if mask is None else int(mask.sum())
    return patches * int(values.shape[-1]) // COLOURS


def _find(features: Mapping[str, Any], names: tuple[str, ...], shape: tuple[int, ...]) -> torch.Tensor | None:
    for name in names:
        value = features.get(name)
        if isinstance(value, torch.Tensor) and tuple(value.shape) == shape:
            return value
    return None
