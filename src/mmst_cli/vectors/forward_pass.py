"""Features through the model: what `model.encode` does with a batch, once it is prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from mmst_cli.vectors.prepared_batches import Group

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Task = Literal["query", "document"]
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # the first of them that a model has


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


@torch.inference_mode()  # type: ignore[untyped-decorator]
def forward(model: SentenceTransformer, group: Group) -> torch.Tensor:
    """Return float32 vectors of shape (inputs, embedding dimension) on the model's device; a GPU may still compute."""
    model.eval()
    device = model._resolve_inference_device(None)
    features = {name: _on(device, value) for name, value in group.features.items()}
    vectors: torch.Tensor = model(features, **group.options)["sentence_embedding"]
    if model.truncate_dim is not None:
        vectors = vectors[..., : model.truncate_dim]
    return vectors.float()


def _on(device: torch.device, value: Any) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
