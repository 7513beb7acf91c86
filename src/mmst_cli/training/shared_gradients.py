"""Gradients averaged over the processes of a run once a backward pass is done.

Those of weights that a loss has of its own are none of DistributedDataParallel's, and would differ in each process.
A loss that isn't cached calls the model once a column before it goes backward, and towers of a model may take one
column each. DistributedDataParallel counts which weights each call used, and stops where their gradients come again.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from mmst_cli import processes


@torch.no_grad()  # type: ignore[untyped-decorator]
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients of all processes; a weight that none of them used keeps none."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        return
    used = torch.tensor([float(one.grad is not None) for one in trained], device=trained[0].device)
    dist.all_reduce(used)
    for parameter, count in zip(trained, used.tolist(), strict=True):
        if not count:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= processes.count()
