"""What is kept of an input to tell whether another one is the same or nearly so, whatever its modality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.media.input_digest import digest_of_input
from mmst_cli.media.message import parts_of
from mmst_cli.similarity import image_likeness, sound_likeness, text_likeness

FRAMES = 4  # of a clip that are compared, spread evenly
_LIKENESS = {"text": text_likeness, "image": image_likeness, "audio": sound_likeness}
_STORED = {"sketch": "signature"}  # names of arrays in files that earlier versions wrote


@dataclass(frozen=True)
class Sketch:
    """What is kept of an input: tens of kilobytes at most, for a page as for a film."""

    modality: str
    digest: bytes
    """16 bytes: the same if the decoded content is."""
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What the module of its modality compares; of clips and inputs of several parts nothing."""
    parts: tuple[Sketch, ...] = ()
    """Of a clip its frames, of an input of several parts each of them."""

    def to_bytes(self) -> bytes:
        """Return it as it can be stored, in the safetensors format."""
        found: dict[str, npt.NDArray[Any]] = {}
        tree = _flatten(self, "", found)
        return bytes(safetensors.numpy.save(found, metadata={"tree": json.dumps(tree)}))

    @staticmethod
    def from_bytes(stored: bytes) -> Sketch:
        """Return what :meth:`to_bytes` stored."""
        length = int.from_bytes(stored[:8], "little")
        tree = json.loads(json.loads(stored[8 : 8 + length])["__metadata__"]["tree"])
        return _unflatten(tree, "", safetensors.numpy.load(stored))


def sketch_of(modality: Modality | str, value: Any, *, size: tuple[int, int] | None = None) -> Sketch:
    """Return what is kept of an input.

    Args:
        modality: what it is.
        value: a text; an RGB image; ``{"array", "sampling_rate"}``; ``{"array", "video_metadata"}``; a list of
            messages; or a mapping of modalities to these.
        size: of an image that was decoded at a smaller scale its real width and height. The digest is that of the
            pixels given.
    """
    digest = digest_of_input(modality, value)
    match Modality(modality):
        case Modality.text:
            return Sketch("text", digest, text_likeness.sketch_text(value))
        case Modality.image:
            return Sketch("image", digest, image_likeness.sketch_image(value, size))
        case Modality.audio:
            return Sketch("audio", digest, sound_likeness.sketch_sound(value["array"], value["sampling_rate"]))
        case Modality.video:
            return Sketch("video", digest, {}, _frames(value["array"]))
        case Modality.message:
            return Sketch("message", digest, {}, tuple(sketch_of(kind, part) for kind, part in _said(value)))
    parts = [(str(kind), value[kind]) for kind in sorted(value) if value[kind] is not None]
    return Sketch("mixed", digest, {}, tuple(sketch_of(kind, part) for kind, part in parts))


def is_near(a: Sketch, b: Sketch) -> bool:
    """Whether two inputs are the same, but for what a person would not call another one.

    Pictures may be encoded again, resized and cut at the edges; sounds encoded again, louder and cut at the ends;
    texts written otherwise, long ones with few other words. Of clips all compared frames, of inputs of several parts
    all parts must be near.
    """
    if a.digest == b.digest:
        return True
    if a.modality != b.modality or [part.modality for part in a.parts] != [part.modality for part in b.parts]:
        return False
    if a.parts:
        return all(is_near(one, other) for one, other in zip(a.parts, b.parts, strict=True))
    module = _LIKENESS.get(a.modality)
    return module is not None and module.are_near(a.arrays, b.arrays)


def _frames(array: npt.NDArray[Any]) -> tuple[Sketch, ...]:
    places = np.linspace(0, len(array) - 1, FRAMES).round().astype(int)
    frames = [Image.fromarray(np.ascontiguousarray(array[place])).convert("RGB") for place in places]
    return tuple(sketch_of(Modality.image, frame) for frame in frames)


def _said(chat: Any) -> list[tuple[str, Any]]:
    """Return the parts of a chat in order, who says each being part of it."""
    return [
        (part["type"], f"{role}: {part['text']}" if part["type"] == "text" else part[part["type"]])
        for role, part in parts_of(chat)
    ]


def _flatten(one: Sketch, prefix: str, found: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    found |= {f"{prefix}{name}": np.ascontiguousarray(array) for name, array in one.arrays.items()}
    parts = [_flatten(part, f"{prefix}{place}.", found) for place, part in enumerate(one.parts)]
    return {"modality": one.modality, "digest": one.digest.hex(), "arrays": list(one.arrays), "parts": parts}


def _unflatten(tree: Mapping[str, Any], prefix: str, found: Mapping[str, npt.NDArray[Any]]) -> Sketch:
    arrays = {_STORED.get(name, name): found[f"{prefix}{name}"] for name in tree["arrays"]}
    parts = tuple(_unflatten(part, f"{prefix}{place}.", found) for place, part in enumerate(tree["parts"]))
    return Sketch(tree["modality"], bytes.fromhex(tree["digest"]), arrays, parts)
