"""Forward and backward passes of a model without weights: what autograd keeps, the most that lives, the operations.

What comes out holds for the kernels that are counted: attention as one fused operation, which keeps queries, keys,
values, the output and a number a row, unless the model computes it eagerly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from mmst_cli.planning.counted_operations import META, counted


@dataclass(frozen=True)
class PassCost:
    """What a pass over one mini-batch takes. Bytes without weights, their gradients and the inputs."""

    rows: int
    tokens: int
    """Padding included; 0 of models without tokens."""
    kept: int
    """Bytes that autograd keeps between the forward and the backward pass."""
    peak: int
    """The most bytes that live at a time, forward and backward."""
    forward_peak: int
    """The most bytes that live at a time in a forward pass of which nothing is kept, as evaluations have it."""
    forward_flops: int
    flops: int
    """Forward and backward, with what checkpointing computes again."""
    forward_kernels: int
    """Operations on the device."""
    kernels: int
    fixed: int
    """Bytes of the former that are the same for any number of rows: copies of weights in half precision."""

    def scaled(self, rows: int, tokens: float | None = None) -> PassCost:
        """Return the cost of so many rows, with so many tokens in all; all but the kernels grow in step with them."""
        by = (tokens / self.tokens) if tokens and self.tokens else rows / self.rows

        def more(size: int) -> int:
            fixed = min(self.fixed, size)
            return fixed + round((size - fixed) * by)

        return replace(
            self,
            rows=rows,
            tokens=round(self.tokens * by),
            kept=more(self.kept),
            peak=more(self.peak),
            forward_peak=more(self.forward_peak),
            forward_flops=round(self.forward_flops * by),
            flops=round(self.flops * by),
        )


def count_pass(
    model: nn.Module, features: Mapping[str, Any], rows: int, autocast: torch.dtype | None = None
) -> PassCost:
    """Return what one mini-batch takes through a model on the meta device.

    Args:
        model: a SentenceTransformer without weights, as it is trained: frozen, with its adapter, with checkpointing.
        features: of a collated mini-batch, on the CPU.
        rows: how many inputs it has.
        autocast: the half precision that forward passes run under.

    Raises:
        Exception: whatever the model raises where a shape depends on values that aren't there.
    """
    mask = features.get("attention_mask")
    tokens = int(mask.numel()) if isinstance(mask, torch.Tensor) else 0
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:  # as it is from the second mini-batch on
        parameter.grad = torch.zeros_like(parameter)
    kept: dict[int, tuple[Any, int]] = {}
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage, storage.nbytes()
        return tensor

    try:
        with counted(autocast) as counter, torch.no_grad():
            model(_on_meta(features))
        forward_peak = counter.peak
        with counted(autocast) as counter:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                vectors = model(_on_meta(features))["sentence_embedding"]
            forward_flops, forward_kernels = counter.flops, counter.kernels
            held = sum(size for _, size in kept.values())
            kept.clear()
            if vectors.requires_grad:
                torch.autograd.backward(vectors.float().sum())  # Tensor.backward would leave the modes
            del vectors
    finally:
        for parameter in trained:
            parameter.grad = None
    return PassCost(
        rows,
        tokens,
        held,
        counter.peak,
        forward_peak,
        forward_flops,
        counter.flops,
        forward_kernels,
        counter.kernels,
        counter.copies,
    )


def _on_meta(features: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.to(META) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in features.items()
    }
