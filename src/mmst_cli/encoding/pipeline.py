"""Encoding a stream of inputs in bounded memory, with the vectors that `model.encode` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image

from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Task = Literal["query", "document"]

CHUNK_BYTES = 256 * 2**20  # decoded inputs held at a time, in bytes
CHUNK_INPUTS = 20_000  # and in number, for inputs that weigh next to nothing


def as_input(value: Any, modality: str) -> Any:
    """Return ``value`` as a model input that can't be misread.

    sentence-transformers takes a plain string for an image if it looks like the path or address of one;
    ``{"text": value}`` embeds identically and is always text.
    """
    return {"text": value} if modality == "text" else value


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
        batch_size: inputs per forward pass.
        task: encode as queries or documents, with the prompt and route the model has for them.
        prompt: text to prompt with, instead of the task's prompt.
        prompt_name: the same, by a name among the model's prompts.
        precision: mixed precision to run under.
        on_encoded: called with the number of inputs of each chunk that was encoded.

    Yields:
        float32 tensors of shape (inputs of the chunk, embedding dimension) on the model's device.
    """
    encode = {"query": model.encode_query, "document": model.encode_document, None: model.encode}[task]
    precision = precision or Precision()
    for chunk in chunk_inputs(inputs, batch_size):
        with precision.context(model.device):
            vectors = encode(
                chunk,
                prompt=prompt,
                prompt_name=prompt_name,
                batch_size=batch_size,
                convert_to_tensor=True,
                show_progress_bar=False,
            )
        # Under mixed precision the vectors may be half; scores and files are float32 everywhere.
        yield vectors.float()
        if on_encoded:
            on_encoded(len(chunk))


def chunk_inputs(inputs: Iterable[Any], batch_size: int) -> Iterator[list[Any]]:
    """Cut a stream into lists of whole batches of at most about ``CHUNK_BYTES`` decoded bytes."""
    chunk: list[Any] = []
    size = 0
    for item in inputs:
        chunk.append(item)
        size += decoded_bytes(item)
        if len(chunk) % batch_size == 0 and (size >= CHUNK_BYTES or len(chunk) >= CHUNK_INPUTS):
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def decoded_bytes(item: Any) -> int:
    """Estimate what an input weighs in memory, in bytes."""
    if isinstance(item, Image.Image):
        return int(item.width * item.height * len(item.getbands()))
    if isinstance(item, dict):
        return sum(decoded_bytes(value) for value in item.values())
    return len(item) if isinstance(item, str | bytes) else 64
