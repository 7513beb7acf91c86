"""Bytes of a run on its device and on the disk, term by term, from the architecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from mmst_cli.config.schema import ModelConfig

SCALES = {(4, True): 0.127 / 8, (4, False): 0.5 / 8, (8, True): 0.0, (8, False): 0.0}
"""Bytes a weight that the scales of blocks of 64 take, by bits and by whether they are quantised as well."""


@dataclass(frozen=True)
class Weights:
    """The parameters of a model as it is trained."""

    parameters: int
    trained: int
    bytes: int
    """Of all, as they are held."""
    trained_bytes: int
    """Of those that are trained; a gradient has as many."""
    state_bytes: int
    """Of what the optimizer keeps."""
    optimizer: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(vars(self))


def count_weights(model: nn.Module, config: ModelConfig, per_number: Mapping[Any, float], optimizer: str) -> Weights:
    """Return what the parameters of a model take that isn't on its device yet, a shared one once.

    Args:
        model: as it is trained; on the meta device or not.
        config: its section, for what is quantised only on the device.
        per_number: dtype to bytes of the optimizer's state a number.
        optimizer: what it is called.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    state = round(sum(per_number[parameter.dtype] * parameter.numel() for parameter in trained))
    held = weights_of(model, state, optimizer)
    return replace(held, bytes=held.bytes - _saved_by_quantising(model, config))


def weights_of(model: nn.Module, state_bytes: int, optimizer: str = "") -> Weights:
    """Return what the parameters of a model take as it is, a shared one once.

    Args:
        model: as it is trained.
        state_bytes: of the optimizer.
        optimizer: what it is called.
    """
    parameters = list(model.parameters())
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return Weights(
        parameters=sum(parameter.numel() for parameter in parameters),
        trained=sum(parameter.numel() for parameter in trained),
        bytes=sum(parameter.nbytes for parameter in parameters),
        trained_bytes=sum(parameter.nbytes for parameter in trained),
        state_bytes=state_bytes,
        optimizer=optimizer,
    )


def _saved_by_quantising(model: nn.Module, config: ModelConfig) -> int:
    """Return how many bytes the linear layers' weights take less in few bits; bitsandbytes leaves the others."""
    asked = config.quantization
    if asked is None:
        return 0
    a_weight = asked.bits / 8 + SCALES[asked.bits, asked.double]
    saved = 0.0
    for name, module in model.named_modules():
        skipped = any(part in name.split(".") for part in asked.skip_modules)
        if isinstance(module, nn.Linear) and not skipped and ".lora_" not in name:
            saved += module.weight.nbytes - a_weight * module.weight.numel()
    return round(saved)


@dataclass(frozen=True)
class Memory:
    """Bytes on a device; the largest of its moments is what it needs."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    """Of the largest mini-batch, forward and backward, and what the loss keeps of a batch."""
    inputs: int
    """Features of the mini-batch."""
    evaluation: int
    """Of an evaluator's batch."""
    step: int
    """Copies that an optimizer makes as it steps."""
    library: int
    """What CUDA and its libraries take."""

    @property
    def training(self) -> int:
        """While gradients are computed."""
        return self.held + self.gradients + self.activations + self.inputs

    @property
    def held(self) -> int:
        """At any time."""
        return self.library + self.weights + self.optimizer

    @property
    def peak(self) -> int:
        """The most at a time."""
        return max(self.training, self.held + self.gradients + self.step, self.held + self.evaluation)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "peak": self.peak}


def similarity_bytes(batch: int, documents: int, dims: int) -> int:
    """Return what a loss keeps of the similarities of a batch: 3 matrices of float32 a dimension, batch x documents."""
    return 3 * 4 * batch * documents * max(1, dims)


def checkpoint_bytes(weights: Weights, *, only_model: bool, adapter: bool) -> int:
    """Return the bytes of a checkpoint: the weights, or those of an adapter, and what the optimizer keeps."""
    saved = weights.trained_bytes if adapter else weights.bytes
    return saved + (0 if only_model else weights.state_bytes)
