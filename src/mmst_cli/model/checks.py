"""What a loaded model must be able to do before a GPU-hour is spent on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isqrt
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from mmst_cli.errors import ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SMALL, SMALLEST = 32, 4  # side of the small probe image, in pixels


def check_dims(model: SentenceTransformer, dims: Mapping[str, Iterable[int]]) -> None:
    """Check that every embedding dimension fits the model.

    Args:
        model: the model.
        dims: dotted key to the dimensions it names.

    Raises:
        ModelError: one is larger than the model's.
    """
    full = model.get_embedding_dimension()
    for key, values in dims.items():
        too_large = [dim for dim in values if full is not None and dim > full]
        if too_large:
            raise ModelError(
                f"{key}: {', '.join(map(str, too_large))}: the model's embeddings have {full} dimensions. "
                f"Name dimensions up to {full}."
            )


def check_modalities(model: SentenceTransformer, declared: Mapping[str, str]) -> None:
    """Check that the model takes every declared modality.

    Args:
        model: the model.
        declared: dotted key of a column to its modality.

    Raises:
        ModelError: it doesn't take one of them.
    """
    taken = [str(modality) for modality in model.modalities if isinstance(modality, str)]
    for key, modality in declared.items():
        if modality not in taken:
            raise ModelError(
                f"{key}: {modality}: the model takes {', '.join(m for m in taken if m != 'message')}. "
                "Drop the column, or choose a model that takes it."
            )


def check_pixel_bounds(model: SentenceTransformer, processor: Mapping[str, Any]) -> None:
    """Check on probe images that the processor does what ``min_pixels`` and ``max_pixels`` say.

    Bounds that a processor ignores in silence are a known cause of running out of memory.

    Raises:
        ModelError: an image comes out larger or smaller than declared.
    """
    low, high = _bound(processor, "min_pixels"), _bound(processor, "max_pixels")
    if low is not None and high is not None and low > high:
        raise ModelError(f"model.processor.min_pixels: {low}: above max_pixels, which is {high}.")
    if "image" not in model.modalities:
        if low or high:
            raise ModelError("model.processor: min_pixels and max_pixels bound images, and the model takes none.")
        return
    if high is not None:
        side = max(64, isqrt(2 * high))
        produced = produced_pixels(model, Image.new("RGB", (side, side), "white"))
        if produced > high:
            raise ModelError(
                f"model.processor.max_pixels: {high}: the processor made {produced} pixels of a "
                f"{side}x{side} image. It doesn't follow this bound; see its documentation for the one it has."
            )
        # Whole patches may leave a part of it, but never less than a quarter.
        if 4 * produced < high:
            raise ModelError(
                f"model.processor.max_pixels: {high}: the processor made only {produced} pixels of a "
                f"{side}x{side} image. It doesn't follow this bound; see its documentation for the one it has."
            )
    if low is not None:
        side = min(SMALL, max(SMALLEST, isqrt(low) // 2))
        produced = produced_pixels(model, Image.new("RGB", (side, side), "white"))
        if produced < low:
            raise ModelError(
                f"model.processor.min_pixels: {low}: the processor made {produced} pixels of a "
                f"{side}x{side} image. It doesn't follow this bound."
            )


def _bound(processor: Mapping[str, Any], name: str) -> int | None:
    value = processor.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ModelError(f"model.processor.{name}: {value!r}: write a whole number of pixels above 0.")
    return value


def produced_pixels(model: SentenceTransformer, image: Image.Image) -> int:
    """Return how many pixels the processor makes of an image."""
    features = model.preprocess([image])
    grid = features.get("image_grid_thw")
    if grid is not None:
        patch = int(model[0].processor.image_processor.patch_size)
        return int(grid[0].prod()) * patch * patch
    height, width = features["pixel_values"].shape[-2:]
    return int(height) * int(width)


def half_precision_warning(model: SentenceTransformer, learning_rate: float) -> str | None:
    """Return a warning if half-precision weights are about to be trained in full, else None."""
    trained = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    if not trained & {torch.bfloat16, torch.float16}:
        return None
    return (
        f"the weights are held in half precision and trained in full at a learning rate of {learning_rate:g}: "
        "rounding loses most of each update. Measured with AdamW on bfloat16 weights, the mean update was "
        "0.85 / 0.53 / 0.24 / 0.12 of what float32 weights get at 1e-4 / 5e-5 / 2e-5 / 1e-5, and 13 / 45 / 70 / "
        "85% of the weights did not move at all. The way out: model.dtype=float32 with training.bf16=true "
        "(see configs/vdr-fp32.yaml), at twice the memory for weights, gradients and optimizer."
    )
