"""Pixels as bytes until the device: image processors hand over uint8, and the device normalises, bitwise the same.

A page as the patches of float32 that Qwen's processors make takes 8.3 MB: four bytes a value, and each still image
twice in time. As bytes, and once, it takes an eighth, in the memory of the host and on the way to a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from PIL import Image

from mmst_cli.media.input_errors import concerns_input
from mmst_cli.model.large_images import as_given, comparable, noise
from mmst_cli.model.model_parts import encoders_of, processor_part, takes

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PIXELS = "pixel_values"
AS_BYTES = {"do_rescale": False, "do_normalize": False}
_TRIED = ((300, 200), (120, 260))  # width and height of what a processor is tried on
_PLAIN = (20, 40, 60)  # red, green and blue of what tells which value is of which of them

_found: WeakKeyDictionary[Any, RawPixels | None] = WeakKeyDictionary()


@dataclass
class RawPixels:
    """How a model's pixels are handed over as bytes, and become what its image processor would have returned.

    Args:
        mean: of the values of an image, or of a patch where it is a row; float32, shaped to go with them.
        deviation: likewise.
        frames: how often each patch holds the same pixels, one after the other a colour; 1 unless patches are rows.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    frames: int = 1
    _on: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)

    def pack(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return features as they are handed over: patches hold each of their frames once."""
        pixels = features.get(PIXELS)
        if pixels is None or self.frames == 1:
            return dict(features)
        frames = pixels.view(len(pixels), len(_PLAIN), self.frames, -1)
        return {**features, PIXELS: frames[:, :, 0].flatten(1)}

    def restore(self, features: dict[str, Any]) -> None:
        """Put float32 pixels in place of bytes, wherever these are; of features of one column or of several."""
        for name, value in features.items():
            if name.endswith(PIXELS) and isinstance(value, torch.Tensor) and value.dtype == torch.uint8:
                features[name] = self._normalised(value)

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.device not in self._on:
            self._on[pixels.device] = self.mean.to(pixels.device), self.deviation.to(pixels.device)
        mean, deviation = self._on[pixels.device]
        values = pixels.to(torch.float32).sub_(mean).div_(deviation)
        if self.frames == 1:
            return values
        colours = values.view(len(values), len(_PLAIN), 1, -1)
        return colours.expand(-1, -1, self.frames, -1).reshape(len(values), -1)


def raw_pixels_of(model: SentenceTransformer) -> RawPixels | None:
    """Return how a model's pixels are handed over as bytes; None where its features would not be bitwise the same.

    It is tried once a model, on images of noise of two sizes and on one of a single colour.
    """
    if model not in _found:
        _found[model] = _find(model)
    return _found[model]


def _find(model: SentenceTransformer) -> RawPixels | None:
    from transformers.image_processing_backends import TorchvisionBackend

    encoders = encoders_of(model, "image")
    if len(encoders) != 1:  # none takes images, or several do, each in its own way
        return None
    part = processor_part(encoders[0], "image")
    if not isinstance(part, TorchvisionBackend) or not (part.do_rescale and part.do_normalize):
        return None
    alone = takes(model, "image")
    try:
        tried = [noise(*size) for size in _TRIED]
        usual, raw = (_features(encoders[0], tried, alone, as_bytes) for as_bytes in (False, True))
        plain = _features(encoders[0], [Image.new("RGB", _TRIED[0], _PLAIN)], alone, True)
        found = _layout(part, plain[PIXELS], raw[PIXELS])
    except Exception as error:  # processors raise whatever they like; then they are asked for nothing unusual
        if not concerns_input(error):
            raise
        return None
    if found is None:
        return None
    restored = found.pack(raw)
    found.restore(restored)
    return found if comparable(restored) == comparable(usual) else None


def _features(encoder: Any, images: list[Image.Image], alone: bool, as_bytes: bool) -> dict[str, Any]:
    told = {"processing_kwargs": {"image": AS_BYTES}} if as_bytes else {}
    return dict(encoder.preprocess(as_given(images, alone=alone), **told))


def _layout(part: Any, plain: Any, raw: Any) -> RawPixels | None:
    """Return how pixels lie in what a processor hands over, seen in an image of a single colour; None if unknown."""
    if not all(isinstance(value, torch.Tensor) and value.dtype == torch.uint8 for value in (plain, raw)):
        return None
    # As TorchvisionBackend does it, for the same last bits.
    mean, deviation = (
        torch.tensor(values) * (1.0 / part.rescale_factor) for values in (part.image_mean, part.image_std)
    )
    colours = torch.tensor(_PLAIN, dtype=torch.uint8)
    if plain.ndim == 2:
        width, rest = divmod(plain.shape[1], len(_PLAIN))
        if rest or not torch.equal(plain, colours.repeat_interleave(width).expand_as(plain)):
            return None
        frames = _frames(part, raw)
        mean, deviation = (values.repeat_interleave(width // frames) for values in (mean, deviation))
        return RawPixels(mean, deviation, frames)
    if plain.ndim < 4 or not torch.equal(plain, colours.view(-1, 1, 1).expand_as(plain)):
        return None
    return RawPixels(mean.view(-1, 1, 1), deviation.view(-1, 1, 1))


def _frames(part: Any, raw: torch.Tensor) -> int:
    """Return how often each row of noise holds the same pixels."""
    frames = int(getattr(part, "temporal_patch_size", 1))
    if raw.shape[1] % (len(_PLAIN) * frames):
        return 1
    cut = raw.view(len(raw), len(_PLAIN), frames, -1)
    return frames if torch.equal(cut, cut[:, :, :1].expand_as(cut)) else 1
