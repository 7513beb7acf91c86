"""Features through the model: what `model.encode` does with a batch, once it is prepared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from mmst_cli.model.raw_pixels import RawPixels
from mmst_cli.vectors.prepared_batches import Group

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Task = Literal["query", "document"]
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # the first of them that a model has


def how_to_encode(prompt_name: str | None) -> tuple[Task | None, str | None]:
    """Return the task and the prompt of a job: a collection is encoded as the documents of an evaluation are.

    The prompts `query` and `document` stand for sides, which a model may have routes for; others are only prompts.
    """
    if prompt_name == "query":
        return "query", None
    return ("document", None) if prompt_name in (None, "document") else (None, prompt_name)


def prompt_of(model: SentenceTransformer, task: Task | None, prompt: str | None, name: str | None) -> str | None:
    """Return the text that inputs are prompted with, as ``encode``, ``encode_query`` and ``encode_document`` find it.

    Args:
        model: the model.
        task: which of these it is.
        prompt: the text itself, where it is given.
        name: a name among the model's prompts.
    """
    if prompt is None and name is None and task is not None:
        names = ("query",) if task == "query" else _DOCUMENT_PROMPTS
        name = next((known for known in names if known in model.prompts), None)
    return model._resolve_prompt(prompt, name)  # type: ignore[no-any-return]


def ready_to_encode(model: SentenceTransformer) -> torch.device:
    """Turn dropout and the like off, as ``model.encode`` does, and return where the model takes its features."""
    model.eval()
    return model._resolve_inference_device(None)  # type: ignore[no-any-return]


@torch.inference_mode()  # type: ignore[untyped-decorator]
def forward(
    model: SentenceTransformer, device: torch.device, group: Group, raw: RawPixels | None = None
) -> torch.Tensor:
    """Return float32 vectors of shape (inputs, embedding dimension) on a device; a GPU may still compute.

    Args:
        model: the model, as :func:`ready_to_encode` left it.
        device: where it is.
        group: features.
        raw: how their pixels are handed over as bytes; None where they aren't.
    """
    features = on_device(device, group.features)
    if raw is not None:
        raw.restore(features)
    vectors: torch.Tensor = model(features, **group.options)["sentence_embedding"]
    if model.truncate_dim is not None:
        vectors = vectors[..., : model.truncate_dim]
    return vectors.float()


def on_device(device: torch.device, features: Mapping[str, Any]) -> dict[str, Any]:
    """Return features whose tensors are on a device; a GPU may still copy them."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for name, value in features.items()
    }
