"""What is kept of an input to tell whether another one is the same: of every modality, of several at once."""

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
from mmst_cli.media.input_digest import digest
from mmst_cli.similarity import pictures, sounds, texts

FRAMES = 4  # of a clip that are compared, spread evenly


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an input: tens of kilobytes at most, for a page as for a film."""

    modality: str
    digest: bytes
    """16 bytes: the same if the decoded content is."""
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What the module of its modality compares; of clips and inputs of several parts nothing."""
    parts: tuple[Fingerprint, ...] = ()
    """Of a clip its frames, of an input of several parts each of them."""

    def to_bytes(self) -> bytes:
        """Return it as it can be stored, in the safetensors format."""
        found: dict[str, npt.NDArray[Any]] = {}
        tree = _flatten(self, "", found)
        return bytes(safetensors.numpy.save(found, metadata={"tree": json.dumps(tree)}))

    @staticmethod
    def from_bytes(stored: bytes) -> Fingerprint:
        """Return what :meth:`to_bytes` stored."""
        length = int.from_bytes(stored[:8], "little")
        tree = json.loads(json.loads(stored[8 : 8 + length])["__metadata__"]["tree"])
        return _unflatten(tree, "", safetensors.numpy.load(stored))


def fingerprint(modality: Modality | str, value: Any, *, size: tuple[int, int] | None = None) -> Fingerprint:
    """Return what is kept of an input.

    Args:
        modality: what it is.
        value: a text; an RGB image; ``{"array", "sampling_rate"}``; ``{"array", "video_metadata"}``; a list of
            messages; or a mapping of modalities to these.
        size: of an image that was decoded at a smaller scale its real width and height. The digest is that of the
            pixels given.
    """
    name = digest(modality, value)
    match Modality(modality):
        case Modality.text:
            return Fingerprint("text", name, texts.look(value))
        case Modality.image:
            return Fingerprint("image", name, pictures.look(value, size))
        case Modality.audio:
            return Fingerprint("audio", name, sounds.look(value["array"], value["sampling_rate"]))
        case Modality.video:
            return Fingerprint("video", name, {}, _frames(value["array"]))
        case Modality.message:
            return Fingerprint("message", name, {}, tuple(fingerprint(kind, part) for kind, part in _said(value)))
    parts = [(str(kind), value[kind]) for kind in sorted(value) if value[kind] is not None]
    return Fingerprint("mixed", name, {}, tuple(fingerprint(kind, part) for kind, part in parts))


def _frames(array: npt.NDArray[Any]) -> tuple[Fingerprint, ...]:
    places = np.linspace(0, len(array) - 1, FRAMES).round().astype(int)
    frames = [Image.fromarray(np.ascontiguousarray(array[place])).convert("RGB") for place in places]
    return tuple(fingerprint(Modality.image, frame) for frame in frames)


def _said(chat: Any) -> list[tuple[str, Any]]:
    """Return the parts of a chat in order, who says each being part of it."""
    parts: list[tuple[str, Any]] = []
    for message in chat:
        content = message["content"]
        listed = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in listed:
            value = part[part["type"]]
            parts.append((part["type"], f"{message['role']}: {value}" if part["type"] == "text" else value))
    return parts


def _flatten(one: Fingerprint, prefix: str, found: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    found |= {f"{prefix}{name}": np.ascontiguousarray(array) for name, array in one.arrays.items()}
    parts = [_flatten(part, f"{prefix}{place}.", found) for place, part in enumerate(one.parts)]
    return {"modality": one.modality, "digest": one.digest.hex(), "arrays": list(one.arrays), "parts": parts}


def _unflatten(tree: Mapping[str, Any], prefix: str, found: Mapping[str, npt.NDArray[Any]]) -> Fingerprint:
    arrays = {name: found[f"{prefix}{name}"] for name in tree["arrays"]}
    parts = tuple(_unflatten(part, f"{prefix}{place}.", found) for place, part in enumerate(tree["parts"]))
    return Fingerprint(tree["modality"], bytes.fromhex(tree["digest"]), arrays, parts)
