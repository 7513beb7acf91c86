"""The loss of a batch and its gradients, outside of the training loop."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from mmst_cli.model.precision import Precision
from mmst_cli.training.collator import BAD_ROWS
from mmst_cli.training.trainer import RunTrainer


def compute_gradients(trainer: RunTrainer, precision: Precision, batch: dict[str, Any]) -> None:
    """Compute the loss of a collated batch and its gradients, as the trainer has it; broken rows aren't counted.

    Forward passes are in half precision where that is declared, and the loss of what they give in float32.
    """
    batch.pop(BAD_ROWS, ())
    with precision.forward_of(trainer.model) if precision.autocast else nullcontext():
        loss = trainer.compute_loss(trainer.model.train(), trainer._prepare_inputs(batch))
        loss.backward()  # cached losses run the forward passes again
