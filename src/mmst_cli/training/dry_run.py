"""A dry run: the trainer's own way into training and one step of its loop, with nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from datasets import DatasetDict
from torch import nn

from mmst_cli.errors import ConfigError
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.training.trainer_batches import no_batch


def try_batches(trainer: RunTrainer) -> str:
    """Take one step of training, and return what came of it in a sentence.

    All that `train` does before its first batch is done by `train` itself: gradient checkpointing, optimizer and
    scheduler, preparing the model, and with it mixed precision and the scaling of losses. The losses and gradients of
    a batch of every set are computed, and the step is taken with the last ones.

    Args:
        trainer: one whose output folder may go; its model is changed by the step.

    Raises:
        ConfigError: no whole batch can be drawn from a set.
        DataError: a row can't be read; the message names dataset, row and column.
        WorkError: the loss or the gradient is no number.
    """
    losses: dict[str, float] = {}

    def one_step(*, model: nn.Module, train_dataloader: Any, **_: Any) -> None:
        losses.update({name: _loss(trainer, model, loader) for name, loader in _loaders(trainer, train_dataloader)})
        norm = trainer._clip_grad_norm(model) if trainer.args.max_grad_norm else None
        trainer._get_grad_norm(model, grad_norm=norm)
        trainer.optimizer.step()
        trainer.control.should_training_stop = True

    trainer._run_epoch = one_step  # type: ignore[method-assign, assignment]
    trainer.callback_handler.callbacks = []  # those of trackers would begin a run in their place
    trainer.args.eval_on_start = False
    trainer.train()
    found = ", ".join(f"{loss:.4f} on {name}" if name else f"{loss:.4f}" for name, loss in losses.items())
    return (
        f"Dry run: everything fits together, and one batch of {trainer.args.train_batch_size} "
        f"gives a loss of {found}. Nothing was written."
    )


def _loaders(trainer: RunTrainer, together: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each set and what draws its batches; a set that is alone has no name."""
    sets = trainer.train_dataset
    if not isinstance(sets, DatasetDict):
        yield "", together
        return
    for name, rows in sets.items():
        yield name, trainer._build_dataloader(rows, trainer.args.train_batch_size, dataset_kind="train")


def _loss(trainer: RunTrainer, model: nn.Module, loader: Any) -> float:
    """Return the loss of a batch, after computing its gradients as the training loop does."""
    batches, items = trainer.get_batch_samples(iter(loader), 1, trainer.args.device)
    if not batches:
        raise ConfigError(no_batch(trainer))
    model.zero_grad()
    trainer.current_gradient_accumulation_steps = 1
    trainer.accelerator.gradient_state._set_sync_gradients(True)
    return float(trainer.training_step(model, batches[0], items))
