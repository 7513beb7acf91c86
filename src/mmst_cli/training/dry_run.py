"""One batch of every training set through loss and backward, to see that all fits together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datasets import DatasetDict

from mmst_cli.errors import ConfigError
from mmst_cli.training.trainer import RunTrainer


def try_batches(trainer: RunTrainer) -> str:
    """Compute the loss of a batch and its gradients, set by set, and return what came of it in a sentence."""
    sets = trainer.train_dataset
    if not isinstance(sets, DatasetDict):
        found = f"{_try_batch(trainer, trainer.get_train_dataloader()):.4f}"
    else:
        size = trainer.args.train_batch_size
        losses = {
            name: _try_batch(trainer, trainer._build_dataloader(rows, size, dataset_kind="train"))
            for name, rows in sets.items()
        }
        found = ", ".join(f"{loss:.4f} on {name}" for name, loss in losses.items())
    return (
        f"Dry run: everything fits together, and one batch of {trainer.args.train_batch_size} "
        f"gives a loss of {found}. Nothing was written."
    )


def _try_batch(trainer: RunTrainer, loader: Iterable[Any]) -> float:
    drawn = next(iter(loader), None)
    if drawn is None:
        raise ConfigError(no_batch(trainer))
    batch = trainer._prepare_inputs(drawn)
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return float(loss.item())


def no_batch(trainer: RunTrainer) -> str:
    """Return the sentence about data that no whole batch can be drawn from; the trainer itself would take no step."""
    return (
        f"training.per_device_train_batch_size: no batch of {trainer.args.train_batch_size} rows can be drawn from"
        " the training data. Lower it, or leave out dataloader_drop_last."
    )
