"""The numeric precision a run declares, so that every evaluation of it runs under the same one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from mmst_cli.errors import ConfigError
from mmst_cli.model.determinism import make_deterministic

HALF = (torch.bfloat16, torch.float16)


def dtype_name(dtype: torch.dtype) -> str:
    """Return what a dtype is called in configs, records and messages: bfloat16."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Precision:
    """Mixed precision of forward passes; ``None`` runs them in the dtype of the weights."""

    autocast: torch.dtype | None = None

    def context(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context to run a forward pass on ``device`` in."""
        if self.autocast is None:
            return nullcontext()
        autocast: AbstractContextManager[Any] = torch.autocast(device.type, dtype=self.autocast)
        return autocast

    @contextmanager
    def forward_of(self, model: Any) -> Iterator[None]:
        """Run the forward passes of a model in this precision, and nothing else, for as long as the context lasts.

        What they return is float32, as accelerate has it in training: what is made of it, similarities above all,
        would have a handful of distinct values in half precision.

        Args:
            model: a SentenceTransformer or CrossEncoder.
        """
        if self.autocast is None and model.dtype not in HALF:
            yield
            return
        own = vars(model).get("forward")  # accelerate puts one of its own on a prepared model
        self.take_over(model)
        try:
            yield
        finally:
            if own is None:
                del model.forward
            else:
                model.forward = own

    def take_over(self, model: Any) -> None:
        """Run all forward passes of a model in this precision from here on, as :meth:`forward_of` does."""
        if self.autocast is None and model.dtype not in HALF:
            return
        from accelerate.utils import convert_to_fp32

        forward = model.forward

        def run(*inputs: Any, **options: Any) -> Any:
            with self.context(model.device):
                outputs = forward(*inputs, **options)
            return convert_to_fp32(outputs)

        model.forward = run


@dataclass(frozen=True)
class Runtime:
    """Where forward passes run, and in which precision."""

    device: torch.device
    precision: Precision


def choose_runtime(training: Mapping[str, Any]) -> Runtime:
    """Return the device and the precision that ``training`` asks for, seen to go together.

    What runs there is deterministic from here on where ``training.full_determinism`` asks for it.

    Raises:
        ConfigError: the device can't do the precision.
    """
    make_deterministic(training)
    device = default_device(training)
    check_precision(training, device)
    return Runtime(device, declared_precision(training))


def declared_precision(training: Mapping[str, Any]) -> Precision:
    """Return what ``training.bf16`` and ``training.fp16`` ask for."""
    if training.get("bf16"):
        return Precision(torch.bfloat16)
    return Precision(torch.float16) if training.get("fp16") else Precision()


def default_device(training: Mapping[str, Any]) -> torch.device:
    """Return the device that training and evaluation use: the CPU where ``training.use_cpu`` says so."""
    from sentence_transformers.util import get_device_name

    return torch.device("cpu" if training.get("use_cpu") else get_device_name())


def check_precision(training: Mapping[str, Any], device: torch.device) -> None:
    """Check that ``device`` can do the half precision that the config declares.

    Raises:
        ConfigError: it can't.
    """
    if training.get("fp16") and device.type != "cuda":
        raise ConfigError(
            f"training.fp16: true, but the device is {device.type}, and fp16 needs a GPU. Write training.fp16=false."
        )
    if not training.get("bf16"):
        return
    if device.type == "cpu" and not training.get("use_cpu"):
        raise ConfigError(
            "training.bf16: true, but there is no GPU here. Write training.bf16=false, "
            "or training.use_cpu=true to run bfloat16 on the CPU, about five times slower than float32."
        )
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(
            f"training.bf16: true, but {torch.cuda.get_device_name()} has no bfloat16. "
            "Write training.bf16=false and training.fp16=true."
        )
