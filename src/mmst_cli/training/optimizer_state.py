"""An optimizer tried on a parameter that is no part of the model, and what its state will take beside the model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SIDE = 128  # of a square parameter: large enough for optimizers that hold the state of large ones in fewer bits
USUAL = 8  # bytes of state a number, as Adam has them, of optimizers that take the model itself


def step_beside(trainer: Any, dtype: torch.dtype = torch.float32) -> Any | None:
    """Return the optimizer after a step on a parameter of its own; None where an optimizer takes the model itself.

    Whatever the optimizer refuses is raised.
    """
    kind, arguments = trainer.get_optimizer_cls_and_kwargs(trainer.args, trainer.model)
    return step_of(kind, arguments, trainer.model.device, dtype)


def step_of(kind: Any, arguments: Any, device: torch.device, dtype: torch.dtype = torch.float32) -> Any | None:
    """Return an optimizer as :func:`step_beside` does.

    Args:
        kind: its class.
        arguments: what it is built with.
        device: of the parameter.
        dtype: of the parameter.
    """
    if not isinstance(kind, type) or not issubclass(kind, torch.optim.Optimizer):
        return None
    if isinstance(arguments.get("optimizer_dict"), list):  # under this key ST's trainer gives the groups of parameters
        arguments = {name: value for name, value in arguments.items() if name != "optimizer_dict"}
    if arguments.keys() & {"params", "model", "optimizer_dict"}:
        return None
    parameter = nn.Parameter(torch.zeros(SIDE, SIDE, device=device, dtype=dtype))
    parameter.grad = torch.zeros_like(parameter)
    optimizer: Any = kind([parameter], **arguments)
    if hasattr(optimizer, "train"):  # one that is free of a schedule, as the trainer does
        optimizer.train()
    optimizer.step()
    return optimizer


def state_bytes(trainer: Any) -> int:
    """Return what the state of the optimizer will take of the device, in bytes."""
    numbers: dict[torch.dtype, int] = {}
    for parameter in trained_parameters(trainer):
        numbers[parameter.dtype] = numbers.get(parameter.dtype, 0) + parameter.numel()
    return sum(int(count * _per_number(trainer, dtype)) for dtype, count in numbers.items())


def trained_parameters(trainer: Any) -> list[nn.Parameter]:
    """Return what a trainer trains: weights of the model, and those that losses have of their own."""
    return [*(parameter for parameter in trainer.model.parameters() if parameter.requires_grad), *trainer.own_weights]


def _per_number(trainer: Any, dtype: torch.dtype) -> float:
    return bytes_a_number(step_beside(trainer, dtype))


def bytes_a_number(optimizer: Any | None) -> float:
    """Return how many bytes of state an optimizer that took a step keeps a number; as Adam does of None."""
    if optimizer is None:
        return USUAL
    held = [value for state in optimizer.state.values() for value in state.values()]
    taken: int = sum(value.nbytes for value in held if isinstance(value, torch.Tensor) and value.numel() > 1)
    return taken / SIDE**2
