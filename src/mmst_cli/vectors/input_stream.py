"""Encoding a stream of inputs in bounded memory, with the vectors that `model.encode` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image

from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.message import clip_options
from mmst_cli.model.precision import Precision
from mmst_cli.vectors.fitting_batches import encode_fitting
from mmst_cli.vectors.refused_inputs import RefusedInputError, find_refused

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Task = Literal["query", "document"]

CHUNK_BYTES = 256 * 2**20  # decoded inputs held at a time, in bytes
CLIPS = "chats with clips"
CHUNK_INPUTS = 20_000  # and in number, for inputs that weigh next to nothing
BATCH_BYTES = 512 * 2**20  # of a batch, which is cut short where it would hold more: processors copy it once or twice


def how_to_encode(prompt_name: str | None) -> tuple[Task | None, str | None]:
    """Return the task and the prompt of a job: a collection is encoded as the documents of an evaluation are.

    The prompts `query` and `document` stand for sides, which a model may have routes for; others are only prompts.
    """
    if prompt_name == "query":
        return "query", None
    return ("document", None) if prompt_name in (None, "document") else (None, prompt_name)


def encode_stream(
    model: SentenceTransformer,
    inputs: Iterable[Any],
    *,
    batch_size: int,
    task: Task | None = None,
    prompt: str | None = None,
    prompt_name: str | None = None,
    precision: Precision | None = None,
    on_encoded: Callable[[int], None] | None = None,
) -> Iterator[torch.Tensor]:
    """Yield vectors for ``inputs`` in order, chunk by chunk.

    A chunk is as much as fits into a fixed number of bytes, in whole batches. Within it,
    sentence-transformers sorts by size and batches; a collection that fits into one chunk is encoded exactly
    as by one call of ``model.encode``.

    Args:
        model: the model.
        inputs: model inputs, read lazily.
        batch_size: inputs per forward pass; fewer, and said once, where the memory is too small for so many.
        task: encode as queries or documents, with the prompt and route the model has for them.
        prompt: text to prompt with, instead of the task's prompt.
        prompt_name: the same, by a name among the model's prompts.
        precision: mixed precision to run under.
        on_encoded: called with the number of inputs of each chunk that was encoded.

    Yields:
        float32 tensors of shape (inputs of the chunk, embedding dimension) on the model's device.

    Raises:
        RefusedInputError: the model's processor refuses inputs; it says which.
        MemoryShortageError: there is no room for a single input.
    """
    encode = {"query": model.encode_query, "document": model.encode_document, None: model.encode}[task]
    precision = precision or Precision()
    options = {"prompt": prompt, "prompt_name": prompt_name, "convert_to_tensor": True, "show_progress_bar": False}

    def encode_what_fits(inputs: list[Any], **more: Any) -> torch.Tensor:
        call = partial(encode, inputs, **options, **more)
        return encode_fitting(model, lambda size: call(batch_size=size), batch_size)

    done = 0
    for chunk in chunk_inputs(inputs, batch_size):
        with precision.forward_of(model), _refused_by_name(model, chunk, task, done):
            vectors = _encode_by_kind(encode_what_fits, chunk)
        count = len(chunk)
        done += count
        del chunk  # or it would be held while the next one is read
        yield vectors.float()  # scores and files are float32 everywhere
        if on_encoded:
            on_encoded(count)


@contextmanager
def _refused_by_name(model: SentenceTransformer, chunk: list[Any], task: Task | None, first: int) -> Iterator[None]:
    """Say which inputs the processor refuses, if that is why encoding a chunk fails; they count from ``first`` on."""
    try:
        yield
    except Exception as error:  # processors raise whatever they like
        if not concerns_input(error):
            raise
        if refused := find_refused(model, chunk, task):
            raise RefusedInputError({first + place: reason for place, reason in refused.items()}) from error
        raise


def _encode_by_kind(encode: Callable[..., torch.Tensor], chunk: list[Any]) -> torch.Tensor:
    """Encode a chunk, inputs of the same modalities together: others in a batch would make all of it messages."""
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(chunk):
        places.setdefault(_kind(value), []).append(place)
    groups = [(kind, [chunk[place] for place in found]) for kind, found in places.items()]
    vectors = torch.cat([_encode_chats(encode, group) if kind is CLIPS else encode(group) for kind, group in groups])
    if len(groups) == 1:
        return vectors
    order = torch.tensor([place for found in places.values() for place in found], device=vectors.device)
    return vectors[order.argsort()]


def _encode_chats(encode: Callable[..., torch.Tensor], chats: list[Any]) -> torch.Tensor:
    """Encode chats with clips one by one: what is said about clips goes by their order, and batches are sorted."""
    return torch.cat([encode([chat], processing_kwargs=clip_options([chat])) for chat in chats])


def _kind(value: Any) -> Any:
    return CLIPS if clip_options([value]) else kind_of(value)


def kind_of(value: Any) -> Any:
    """Return the modality of an input, or the tuple of those that it holds, as sentence-transformers sees it."""
    from sentence_transformers.base.modality import infer_modality

    return infer_modality(value)


def chunk_inputs(inputs: Iterable[Any], batch_size: int) -> Iterator[list[Any]]:
    """Cut a stream into lists of whole batches: as many as fit into ``CHUNK_BYTES`` decoded bytes, but at least one.

    A batch is taken to be as large as the one before it, so that no more than that is held for long collections. One
    that doesn't fit into ``BATCH_BYTES`` is cut short, as those of large photos are: memory is bounded by bytes,
    whatever the size of a batch.
    """
    chunk: list[Any] = []
    size = before = 0
    for item in inputs:
        chunk.append(item)
        weight = decoded_bytes(item)
        size += weight
        is_whole = len(chunk) % batch_size == 0
        is_full = is_whole and (2 * size - before > CHUNK_BYTES or len(chunk) >= CHUNK_INPUTS)
        if is_full or size + weight > BATCH_BYTES:  # another one like it would be too much
            yield chunk
            chunk, size, before = [], 0, 0
        if is_whole:
            before = size
    if chunk:
        yield chunk


def decoded_bytes(item: Any) -> int:
    """Estimate what an input weighs in memory, in bytes."""
    if isinstance(item, Image.Image):
        return int(item.width * item.height * len(item.getbands()))
    if isinstance(item, np.ndarray):
        return int(item.nbytes)
    if isinstance(item, dict):
        return sum(decoded_bytes(value) for value in item.values())
    if isinstance(item, list | tuple):
        return sum(decoded_bytes(value) for value in item)
    return len(item) if isinstance(item, str | bytes) else 64
