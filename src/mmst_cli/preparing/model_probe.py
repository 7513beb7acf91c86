"""One small input of each declared kind, embedded before work begins: what a model can't run is told at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mmst_cli.errors import ModelError, WorkError, first_line
from mmst_cli.media.frame_choice import whole_clip
from mmst_cli.model.model_media import least_frames, sampling_rate
from mmst_cli.model.model_parts import encoders_of, processor_part
from mmst_cli.model.precision import Precision, dtype_name
from mmst_cli.rows.columns import as_input
from mmst_cli.vectors.fitting_batches import MemoryShortageError
from mmst_cli.vectors.forward_pass import Task
from mmst_cli.vectors.input_stream import encode_stream
from mmst_cli.vectors.refused_inputs import RefusedInputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Kind = str | tuple[str, ...]
SIDE = 64  # pixels of the probe image and of a probe frame, both ways
SECONDS = 0.5  # of the probe sound
FRAMES, FPS = 4, 4.0  # of the probe clip


def check_embeds(
    model: SentenceTransformer,
    declared: Iterable[tuple[str, Kind, Task | None]],
    precision: Precision,
    settings: str = "model.processor or model.dtype",
) -> None:
    """Embed a probe of every declared kind, as the model will be given it.

    A size of images that the weights don't have, or a type of number that an operation lacks on this device, shows
    only when the model runs.

    Args:
        model: the model, with its weights.
        declared: the dotted key of what declares inputs, their kind (a modality, or the modalities of one input) and
            the task they are encoded for.
        precision: what forward passes run under.
        settings: what the message says to change.

    Raises:
        ModelError: it can't embed one of them; the message begins with the key.
    """
    seen: set[tuple[Kind, Task | None]] = set()
    for key, kind, task in declared:
        if (kind, task) in seen:
            continue
        seen.add((kind, task))
        try:
            _embed(model, probe_of(model, kind), task, precision)
        except MemoryShortageError:
            continue  # the work itself says which of its sizes to lower
        except WorkError:
            raise
        except Exception as error:  # a model may raise anything, and nothing was begun yet
            said = error.reason if isinstance(error, RefusedInputError) else first_line(error)
            what = kind if isinstance(kind, str) else " with ".join(kind)
            held = dtype_name(model.dtype)
            raise ModelError(
                f"{key}: {what}: {_names(model, kind)}, held in {held} on {model.device.type}, can't embed it:"
                f" {said.rstrip('.')}. Change {settings}, or choose another model."
            ) from error


def _embed(model: SentenceTransformer, value: Any, task: Task | None, precision: Precision) -> None:
    training = model.training
    with torch.random.fork_rng(devices=[]):  # training draws what it would have drawn without this
        for _ in encode_stream(model, [value], batch_size=1, task=task, precision=precision):
            pass
    model.train(training)


def _names(model: SentenceTransformer, kind: Kind) -> str:
    parts: Iterable[str] = (kind,) if isinstance(kind, str) else kind
    encoders = [encoder for part in parts for encoder in encoders_of(model, part)] or [model[0]]
    return type(getattr(encoders[-1], "model", encoders[-1])).__name__


def probe_of(model: SentenceTransformer, kind: Kind) -> Any:
    """Return a small input of a kind, in the form in which rows are read for this model."""
    if isinstance(kind, tuple):
        return {part: "a" if part == "text" else _bare(probe_of(model, part)) for part in kind}
    if kind == "text":
        return as_input("a", kind)
    if kind == "image":
        return Image.fromarray(_noise(SIDE, SIDE, 3))
    if kind == "audio":
        rate = sampling_rate(model) or 16_000
        times = np.arange(int(SECONDS * rate), dtype=np.float32) / rate
        heard = {"array": np.sin(2 * np.pi * 440 * times).astype(np.float32) / 2, "sampling_rate": rate}
        return as_input(heard, kind)
    if kind == "video":
        frames = _frames(model)
        seen = {"array": _noise(frames, SIDE, SIDE, 3), "video_metadata": whole_clip(frames, FPS)}
        return as_input(seen, kind)
    return [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


def _bare(value: Any) -> Any:
    return next(iter(value.values())) if isinstance(value, dict) else value


def _frames(model: SentenceTransformer) -> int:
    """Return how many frames the probe clip has: as many as models and processors want that take no fewer."""
    encoders = encoders_of(model, "video")
    owners = [owner for encoder in encoders for owner in (encoder.config, processor_part(encoder, "video"))]
    wanted = [getattr(owner, "num_frames", None) or FRAMES for owner in owners]
    return max([least_frames(model), *(int(number) for number in wanted)])


def _noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
