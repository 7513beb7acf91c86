"""Convolutions that see each patch whole, computed as the matrix products that they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def multiply_patches(model: nn.Module) -> int:
    """Let a model's convolutions over whole patches be computed as matrix products, and return how many there are.

    The vision towers of the Qwen-VL family and others hand over their patches one by one, each as large as the kernel
    of a three-dimensional convolution. As such it takes a third of a small tower's time on a CPU, and longer than the
    rest of the model on some GPUs in bfloat16 (huggingface/transformers#45750). The vectors differ by rounding; the
    weights stay as they are.
    """
    found = [module for module in model.modules() if type(module) is nn.Conv3d and _adds_nothing(module)]
    for module in found:
        module.__class__ = PatchProduct
    return len(found)


@contextmanager
def convolved(model: nn.Module) -> Iterator[None]:
    """Let patches be convolved as the library does."""
    changed = [module for module in model.modules() if type(module) is PatchProduct]
    for module in changed:
        module.__class__ = nn.Conv3d
    try:
        yield
    finally:
        for module in changed:
            module.__class__ = PatchProduct


def _adds_nothing(module: nn.Conv3d) -> bool:
    """Say whether over an input of the kernel's size a convolution is one product."""
    return bool(module.padding == (0, 0, 0) and module.dilation == (1, 1, 1) and module.groups == 1)


class PatchProduct(nn.Conv3d):  # type: ignore[misc]
    """A convolution that multiplies patches of its kernel's size."""

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Return what the convolution does, of shape (patches, channels, 1, 1, 1) for patches of the kernel's size."""
        if patches.ndim != 5 or tuple(patches.shape[2:]) != self.kernel_size:
            return super().forward(patches)
        found = nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return found[..., None, None, None]
