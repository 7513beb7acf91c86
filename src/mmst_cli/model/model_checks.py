"""What a loaded model must be able to do before a GPU-hour is spent on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isqrt
from typing import TYPE_CHECKING, Any

from PIL import Image

from mmst_cli.errors import ModelError
from mmst_cli.media.bounds import MAX_PIXELS
from mmst_cli.model.model_parts import PARTS, encoders_of, takes
from mmst_cli.model.seen_media import pixels_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SMALL, SMALLEST = 32, 4  # side of the small probe image, in pixels
MOST_PROBED = 2**25  # pixels of the large one, whatever the bound: it is held several times over


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


def check_modalities(model: SentenceTransformer, declared: Mapping[str, str | tuple[str, ...]]) -> None:
    """Check that the model takes every declared modality.

    Args:
        model: the model.
        declared: dotted key of a column, or of a part of one, to its modality, to ``message``, or to the modalities
            of one mixed input.

    Raises:
        ModelError: it doesn't take one of them.
    """
    taken = [name for name in PARTS if takes(model, name)]
    together = [" with ".join(several) for several in model.modalities if isinstance(several, tuple)]
    for key, modality in declared.items():
        if takes(model, modality):
            continue
        parts = (modality,) if isinstance(modality, str) else modality
        missing = [part for part in parts if part not in taken]
        known = ", ".join([*(name for name in taken if name != "message" or "message" in parts), *together])
        if missing:
            where = key if isinstance(modality, str) else f"{key}.{missing[0]}"
            raise ModelError(
                f"{where}: {missing[0]}: the model takes {known}. Drop the column, or choose a model that takes it."
            )
        several = "but not these in one input" if together else "but not several in one input"
        raise ModelError(
            f"{key}: {' with '.join(parts)}: the model takes {known}, {several}."
            " Name one column, or choose a model that takes messages."
        )


def check_pixel_bounds(model: SentenceTransformer, processor: Mapping[str, Any], key: str = "model.processor") -> None:
    """Check on probe images that the processor does what ``min_pixels`` and ``max_pixels`` say.

    Bounds that a processor ignores in silence are a known cause of running out of memory.

    Args:
        model: the model.
        processor: the processor's arguments in the config.
        key: dotted key of these arguments.

    Raises:
        ModelError: an image comes out larger or smaller than declared.
    """
    low, high = _bound(processor, "min_pixels", key), _bound(processor, "max_pixels", key)
    if low is not None and low > MAX_PIXELS:
        raise ModelError(f"{key}.min_pixels: {low}: no image has so many; up to {MAX_PIXELS:,} are read.")
    if low is not None and high is not None and low > high:
        raise ModelError(f"{key}.min_pixels: {low}: above max_pixels, which is {high}.")
    if not takes(model, "image"):
        if low or high:
            raise ModelError(f"{key}: min_pixels and max_pixels bound images, and the model takes none.")
        return
    if high is not None:
        side = max(64, isqrt(min(2 * high, MOST_PROBED)))
        produced = produced_pixels(model, Image.new("RGB", (side, side), "white"))
        # Whole patches may leave a part of it, but never less than a quarter.
        if produced > high or 4 * produced < min(high, side * side):
            only = "" if produced > high else "only "
            raise ModelError(
                f"{key}.max_pixels: {high}: the processor made {only}{produced} pixels of a "
                f"{side}x{side} image. It doesn't follow this bound; see its documentation for the one it has."
            )
    if low is not None:
        side = min(SMALL, max(SMALLEST, isqrt(low) // 2))
        produced = produced_pixels(model, Image.new("RGB", (side, side), "white"))
        if produced < low:
            raise ModelError(
                f"{key}.min_pixels: {low}: the processor made {produced} pixels of a "
                f"{side}x{side} image. It doesn't follow this bound."
            )


def _bound(processor: Mapping[str, Any], name: str, key: str) -> int | None:
    value = processor.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ModelError(f"{key}.{name}: {value!r}: write a whole number of pixels above 0.")
    return value


def produced_pixels(model: SentenceTransformer, image: Image.Image) -> int:
    """Return how many pixels the processor makes of an image."""
    encoder = encoders_of(model, "image")[0]
    return pixels_of(encoder, encoder.preprocess([image]))
