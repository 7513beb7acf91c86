"""Inputs larger, smaller and longer than those of a run: they show where a processor cuts, pads and samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mmst_cli.media.frame_choice import whole_clip
from mmst_cli.preparing.probe_inputs import ProbeInput

LARGEST, SMALLEST = 4096, 8  # side of an image, in pixels
TIMES, PART = 2, 8  # as large as the largest image, as long as a sound or clip; and as small
LONG = 32_768  # characters of a text, which are more tokens than most models take


def draw_bounds(found: Sequence[ProbeInput]) -> list[ProbeInput]:
    """Return batches made of the inputs of a probe, of each kind that is there: ``value`` is a list of inputs.

    Only their processing, never their embedding, is affordable.
    """
    values = [item["value"] for item in found]
    images = [part for part in _parts(values) if isinstance(part, Image.Image)]
    batches = _of_image(max(images, key=lambda image: image.width * image.height)) if images else []
    heard = next((part for part in _parts(values) if "sampling_rate" in _keys(part)), None)
    if heard is not None:
        array = heard["array"]
        sounds = {
            "made longer": np.concatenate([array] * TIMES, axis=-1),
            "cut short": array[..., : max(1, array.shape[-1] // TIMES)],  # of which an eighth may be silent
        }
        batches += [("audio", f"a sound {name}", [{"audio": {**heard, "array": a}}]) for name, a in sounds.items()]
    seen = next((part for part in _parts(values) if "video_metadata" in _keys(part)), None)
    batches += _of_clip(seen) if seen is not None else []
    drawn: list[ProbeInput] = [
        {"value": value, "side": None, "kind": kind, "place": place, "options": {}} for kind, place, value in batches
    ]
    return [*drawn, *_of_texts(found)]


def _of_image(image: Image.Image) -> list[tuple[str, str, list[Any]]]:
    large = min(TIMES, LARGEST / max(image.size))
    sizes = {"enlarged": large, "made small": max(1 / PART, SMALLEST / min(image.size))}
    return [
        (
            "image",
            f"an image {name}",
            [image.resize((max(1, round(image.width * by)), max(1, round(image.height * by))))],
        )
        for name, by in sizes.items()
    ]


def _of_clip(clip: Mapping[str, Any]) -> list[tuple[str, str, list[Any]]]:
    frames, metadata = np.asarray(clip["array"]), clip["video_metadata"]
    longer = np.concatenate([frames] * TIMES)
    enlarged = frames.repeat(TIMES, axis=1).repeat(TIMES, axis=2)
    return [
        ("video", "a clip made longer", [{"video": _clip(longer, metadata)}]),
        ("video", "a clip enlarged", [{"video": _clip(enlarged, metadata)}]),
    ]


def _clip(frames: np.ndarray[Any, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"array": frames, "video_metadata": whole_clip(len(frames), float(metadata["fps"]))}


def _of_texts(found: Sequence[ProbeInput]) -> Iterator[ProbeInput]:
    """Yield, for each side that has texts, one that is longer than any limit in a batch with a short one."""
    for side in ("query", "document"):
        item = next((item for item in found if (item["side"], item["kind"]) == (side, "text")), None)
        if item is None:
            continue
        short = item["value"]
        text = short if isinstance(short, str) else short["text"]
        long = (f"{text or 'a'} " * (LONG // max(2, len(text) + 1) + 1))[:LONG]
        values = [long, short] if isinstance(short, str) else [{"text": long}, short]
        place = f"a long {side} beside a short one"
        yield {"value": values, "side": None, "kind": "text", "place": place, "options": {"task": side}}


def _keys(part: Any) -> Any:
    return part.keys() if isinstance(part, Mapping) else ()


def _parts(value: Any) -> Iterator[Any]:
    """Yield the images, sounds and clips that values are or hold."""
    if isinstance(value, Image.Image) or {"sampling_rate", "video_metadata"} & set(_keys(value)):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for entry in value.values() if isinstance(value, Mapping) else value:
            yield from _parts(entry)
