"""Which attention implementation a model is loaded with, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmst_cli.config.rules_model import is_kernel
from mmst_cli.config.schema import Attention
from mmst_cli.errors import ModelError
from mmst_cli.model.precision import HALF

_LEAST_CAPABILITY: dict[str, tuple[int, int]] = {
    Attention.flash_attention_2: (8, 0),
    Attention.flash_attention_3: (8, 0),
    Attention.flash_attention_4: (9, 0),
}
"""The oldest GPUs that each flash attention runs on; transformers itself looks at this for 3 and 4 alone."""
_INSTALL = "(pip install 'mmst-cli[flash]', which compiles nothing)"


@dataclass(frozen=True)
class AttentionChoice:
    """An attention implementation of transformers, and one sentence on why it was chosen."""

    implementation: str
    reason: str


def kernels_installed() -> bool:
    """Whether transformers can take built kernels from the hub."""
    from transformers.utils import is_kernels_available

    return bool(is_kernels_available())


def flash_attention_installed(version: int = 2) -> bool:
    """Whether transformers can look for flash attention here, in its package or among the kernels of the hub."""
    import transformers.utils

    has_package = getattr(transformers.utils, f"is_flash_attn_{version}_available", None)
    return bool(has_package and has_package()) or kernels_installed()


def compute_capability(device: torch.device) -> tuple[int, int] | None:
    """Return the compute capability of an NVIDIA GPU, such as (8, 0) of an A100; None of what isn't one."""
    if device.type != "cuda" or not torch.cuda.is_available() or torch.version.hip:
        return None
    major, minor = torch.cuda.get_device_capability(device)
    return major, minor


def choose_attention(
    requested: str, device: torch.device, weights: torch.dtype | None, autocast: torch.dtype | None
) -> AttentionChoice:
    """Choose an attention implementation before any weight is read.

    Args:
        requested: what the config asks for.
        device: where the model will run.
        weights: dtype the weights are loaded in; None where the checkpoint decides.
        autocast: dtype of mixed precision; None without it.

    Raises:
        ModelError: what is asked for can't run here.
    """
    wanted = Attention.flash_attention_2 if requested == Attention.auto else requested
    obstacle = _obstacle(wanted, device) or (_half_obstacle(weights, autocast) if _is_flash(wanted, device) else None)
    if requested == Attention.auto:
        if obstacle is None:
            return AttentionChoice("flash_attention_2", "package, GPU and half precision are there")
        return AttentionChoice("sdpa", f"flash_attention_2 was not taken: {obstacle}")
    if obstacle is not None:
        raise ModelError(
            f"model.attn_implementation: {requested} can't be used: {obstacle}. "
            "Write model.attn_implementation=auto, or sdpa."
        )
    return AttentionChoice(str(requested), "the config asks for it")


def _obstacle(wanted: str, device: torch.device) -> str | None:
    """Return why an implementation can't run on a device with what is installed."""
    if is_kernel(wanted):
        return None if kernels_installed() else f"it needs the package kernels {_INSTALL}"
    if wanted not in _LEAST_CAPABILITY:
        return None
    if device.type != "cuda":
        return f"it needs a CUDA device, and the device is {device.type}"
    capability, least = compute_capability(device), _LEAST_CAPABILITY[wanted]
    if capability is not None and capability < least:
        have = ".".join(map(str, capability))
        return f"it needs compute capability {'.'.join(map(str, least))}, and this GPU has {have}"
    if not flash_attention_installed(int(wanted[-1])):
        return f"neither of the packages flash-attn and kernels is installed {_INSTALL}"
    return None


def _is_flash(wanted: str, device: torch.device) -> bool:
    return wanted in _LEAST_CAPABILITY or (is_kernel(wanted) and "flash" in wanted and device.type == "cuda")


def _half_obstacle(weights: torch.dtype | None, autocast: torch.dtype | None) -> str | None:
    if weights in HALF or autocast in HALF:
        return None
    if weights is None:
        return "it needs half precision, and model.dtype=auto leaves that open (write model.dtype=bfloat16)"
    return "it needs half precision, and the model runs in float32"
