"""Large images brought to the size at which a model sees them as soon as they are decoded, by its processor's own hand.

A photo of 48 megapixels takes 144 MB; what a processor makes of it within its bounds, a hundredth of that. Most
processors scale an image first, and look at nothing but the result from there on. Given that result, they leave its
size as it is, so that the features are the same, bit by bit. Where they aren't, as where tiles are cut out of the
original, images stay whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from PIL import Image

from mmst_cli.errors import ConfigError
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.reading import Reader
from mmst_cli.model.model_parts import PARTS, encoders_of, processor_part, takes
from mmst_cli.model.quick_scaling import Call, QuickScaling, without_image

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LARGE = 4_000_000  # pixels, from which on an image is scaled as it is read
TRIED = ((1600, 1200), (900, 2200), (2600, 500))  # width and height of what a processor is tried on

Named = tuple[str, tuple[Any, ...], dict[str, Any]]
"""The name of a method, and what it was given."""

_numbers = count()
_made: WeakValueDictionary[int, Shrinker] = WeakValueDictionary()


def _find(number: int) -> Shrinker | None:
    return _made.get(number)


class Shrinker:
    """Scales large images as a model's processor would scale them.

    Args:
        encoder: what takes them.
        alone: whether it takes an image without a text.
        least: pixels, from which on an image is scaled.
    """

    def __init__(self, encoder: Any, alone: bool, least: int | None = None) -> None:
        self._encoder = encoder
        self._alone = alone
        self._least = LARGE if least is None else least
        self._is_exact: bool | None = None  # unknown until there is a large image
        self._was_seen_exact = False  # on one of them
        self._seen_sizes: dict[tuple[int, int], tuple[int, int] | None] = {}
        self._quickly = QuickScaling(self._find_call, self._scale)
        self._number = next(_numbers)
        _made[self._number] = self

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return an RGB image as it is, or a smaller one of which the model's processor makes the same features."""
        if self._is_exact is False:
            return image
        smaller = self._quickly(image)
        if smaller is None and image.width * image.height > self._least:
            smaller = self._scale(image)
        if smaller is None or smaller.width * smaller.height >= image.width * image.height:
            return image
        if self.is_exact() and not self._was_seen_exact:
            self._is_exact = self._was_seen_exact = self._see(image) == self._see(smaller)
        return smaller if self._is_exact else image

    def is_exact(self) -> bool:
        """Say whether the processor makes the same of a scaled image: tried on noise, and on the first large image."""
        if self._is_exact is None:
            found = [self._is_exact_for(noise(*size)) for size in TRIED]
            self._is_exact = True in found and False not in found
        return self._is_exact

    def seen_size(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Return the width and height at which an image of a size is seen; None where it isn't only scaled."""
        if size not in self._seen_sizes:
            scaled = self._scale(Image.new("RGB", size)) if self.is_exact() else None
            self._seen_sizes[size] = None if scaled is None else scaled.size
        return self._seen_sizes[size]

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what another process gets: a forked one this one, as it has it; others none, so that it takes no
        weights with it and images stay whole.
        """
        return _find, (self._number,)

    def _is_exact_for(self, image: Image.Image) -> bool | None:
        smaller = self._scale(image)
        return None if smaller is None else self._see(image) == self._see(smaller)

    def _scale(self, image: Image.Image) -> Image.Image | None:
        """Return an image as the processor scales it first; None if it doesn't, or would scale the result again."""
        scaled = self._scale_once(image)
        again = None if scaled is None else self._scale_once(scaled)
        if scaled is None or again is None or again.size != scaled.size or again.tobytes() != scaled.tobytes():
            return None
        return scaled

    def _scale_once(self, image: Image.Image, called: list[Named] | None = None) -> Image.Image | None:
        part = processor_part(self._encoder, "image")
        names = [name for name in dir(part) if "resize" in name and not name.startswith("_")]
        return _as_image(self._stop_at(names, image, lambda result: _as_image(result) is not None, called))

    def _find_call(self, size: tuple[int, int]) -> Call | None:
        """Return how the processor scales images of a size that are only scaled."""
        if self.seen_size(size) is None:
            return None
        called: list[Named] = []
        self._scale_once(Image.new("RGB", size), called)
        if not called:
            return None
        name, arguments, options = called.pop()
        return without_image(Call(getattr(processor_part(self._encoder, "image"), name), arguments, options))

    def _see(self, image: Image.Image) -> Any:
        """Return what the image processor makes of an image, in a form that can be compared."""
        return comparable(self._stop_at(["preprocess"], image, lambda _: True))

    def _stop_at(
        self,
        names: list[str],
        image: Image.Image,
        wanted: Callable[[Any], bool],
        called: list[Named] | None = None,
    ) -> Any:
        """Give an image to the encoder, and return what a method of its image processor returns first, or None.

        The call goes into a list, if one is given.
        All is done on copies: other threads may be using the model.
        """
        encoder, part = copy(self._encoder), copy(processor_part(self._encoder, "image"))
        for name in names:
            if callable(getattr(part, name)):
                setattr(part, name, _stopping(name, getattr(part, name), wanted, called))
        if encoder.processor is processor_part(self._encoder, "image"):
            encoder.processor = part
        else:
            encoder.processor = copy(encoder.processor)
            setattr(encoder.processor, PARTS["image"], part)
        try:
            # Of the class, for what an instance has in its place belongs to the encoder that was copied.
            type(encoder).preprocess(encoder, as_given([image], alone=self._alone))
        except _Stop as stop:
            return stop.result
        except Exception as error:  # what is wrong with the image is told where it is processed
            if not concerns_input(error):
                raise
        return None


def as_given(images: list[Image.Image], *, alone: bool) -> list[Any]:
    """Return images as an encoder takes them: alone, or each beside a text."""
    return [*images] if alone else [{"image": image, "text": ""} for image in images]


class _Stop(BaseException):  # none that a processor catches and explains
    def __init__(self, result: Any) -> None:
        self.result = result


def _stopping(
    name: str, method: Callable[..., Any], wanted: Callable[[Any], bool], called: list[Named] | None
) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        result = method(*args, **options)
        if wanted(result):
            if called is not None:  # or the image would live as long as the copy, until a collection finds its circle
                called.append((name, args, options))
            raise _Stop(result)
        return result

    return call


def _as_image(values: Any) -> Image.Image | None:
    """Return one RGB image of whole numbers, channels first or last, as Pillow's; None for everything else."""
    if isinstance(values, Image.Image):
        return values if values.mode == "RGB" else None
    array = values.numpy() if isinstance(values, torch.Tensor) else values
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        return None
    while array.ndim > 3 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and len(array) == 3:
        array = array.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(array)) if array.ndim == 3 and array.shape[2] == 3 else None


def comparable(value: Any) -> Any:
    """Return features in a form that is equal where they are the same bit by bit, in type and shape, too."""
    if isinstance(value, torch.Tensor):
        value = value.contiguous().numpy() if value.dtype != torch.bfloat16 else value.float().numpy()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {name: comparable(entry) for name, entry in value.items()}
    return [comparable(entry) for entry in value] if isinstance(value, list | tuple) else value


def noise(width: int, height: int) -> Image.Image:
    """Return an RGB image of noise, always the same."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def shrink_large_images(model: SentenceTransformer, readers: Iterable[Reader]) -> None:
    """Have large images scaled as they are read, as the model's processor scales them.

    Not where none of its encoders takes images, or several do: they may scale them each in its own way.

    Args:
        model: the model.
        readers: of its inputs; changed in place.
    """
    if (shrinker := shrinker_of(model)) is None:
        return
    for reader in readers:
        reader.shrink = shrinker
        if reader.settings.fast_jpeg:
            if sys.platform != "linux":  # what other processes get there doesn't know how a model scales images
                raise ConfigError("media.fast_jpeg: it is there on Linux only. Leave it out.")
            reader.seen = shrinker.seen_size


def shrinker_of(model: SentenceTransformer, least: int | None = None) -> Shrinker | None:
    """Return what scales images as a model's processor does; None as in :func:`shrink_large_images`."""
    encoders = encoders_of(model, "image")
    if len(encoders) != 1 or processor_part(encoders[0], "image") is None:
        return None
    return Shrinker(encoders[0], takes(model, "image"), least)
