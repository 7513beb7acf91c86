"""What of a model with an adapter is trained, in a file of a checkpoint: all else is as the base has it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

TRAINED = "trained.safetensors"


def save_trained(folder: Path, model: SentenceTransformer) -> None:
    """Write into a checkpoint what training changes, by its name in memory and in the dtype that it is trained in."""
    tensors = {name: one.detach().cpu().contiguous().clone() for name, one in _trained(model).items()}
    save_file(tensors, folder / TRAINED)


@torch.no_grad()  # type: ignore[untyped-decorator]
def load_trained(model: SentenceTransformer, checkpoint: Path) -> None:
    """Put back what :func:`save_trained` wrote.

    Raises:
        RuntimeError: names or shapes differ.
    """
    saved, wanted = load_file(checkpoint / TRAINED), _trained(model)
    if {name: one.shape for name, one in saved.items()} != {name: one.shape for name, one in wanted.items()}:
        raise RuntimeError(f"{TRAINED} holds other tensors than those that are trained")
    for name, tensor in wanted.items():
        tensor.copy_(saved[name])


def _trained(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    """Return the parameters that are trained, and the buffers that are saved: statistics move with them."""
    parameters = {name: one for name, one in model.named_parameters() if one.requires_grad}
    lasting = model.state_dict().keys()
    return parameters | {name: one for name, one in model.named_buffers() if name in lasting}
