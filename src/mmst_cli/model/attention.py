"""Which attention implementation a model is loaded with, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmst_cli.config.schema import Attention
from mmst_cli.errors import ModelError
from mmst_cli.model.precision import HALF


@dataclass(frozen=True)
class AttentionChoice:
    """An attention implementation of transformers, and one sentence on why it was chosen."""

    implementation: str
    reason: str


def flash_attention_installed() -> bool:
    """Whether transformers can run flash_attention_2 here, by the flash-attn package or by kernels."""
    from transformers.utils import is_flash_attn_2_available, is_kernels_available

    return bool(is_flash_attn_2_available() or is_kernels_available())


def choose_attention(
    requested: Attention, device: torch.device, weights: torch.dtype | None, autocast: torch.dtype | None
) -> AttentionChoice:
    """Choose an attention implementation before any weight is read.

    Args:
        requested: what the config asks for.
        device: where the model will run.
        weights: dtype the weights are loaded in; None where the checkpoint decides.
        autocast: dtype of mixed precision; None without it.

    Raises:
        ModelError: flash_attention_2 is asked for and can't run here.
    """
    obstacle = _flash_obstacle(device, weights, autocast)
    if requested is Attention.auto:
        if obstacle is None:
            return AttentionChoice("flash_attention_2", "package, GPU and half precision are there")
        return AttentionChoice("sdpa", f"flash_attention_2 was not taken: {obstacle}")
    if requested is Attention.flash_attention_2 and obstacle is not None:
        raise ModelError(
            f"model.attn_implementation: flash_attention_2 can't be used: {obstacle}. "
            "Write model.attn_implementation=auto, or sdpa."
        )
    return AttentionChoice(str(requested), "the config asks for it")


def _flash_obstacle(device: torch.device, weights: torch.dtype | None, autocast: torch.dtype | None) -> str | None:
    if device.type != "cuda":
        return f"it needs a CUDA device, and the device is {device.type}"
    if not flash_attention_installed():
        return "the package flash-attn is not installed (pip install 'mmst-cli[flash]')"
    if weights in HALF or autocast in HALF:
        return None
    if weights is None:
        return "it needs half precision, and model.dtype=auto leaves that open (write model.dtype=bfloat16)"
    return "it needs half precision, and the model runs in float32"
