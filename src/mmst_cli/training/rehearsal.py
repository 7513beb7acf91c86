"""What the trainer would only notice once a run is begun, tried before anything is written, leaving all as it was."""

from __future__ import annotations

import cmath
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.integrations.neftune import activate_neftune, deactivate_neftune
from transformers.utils import is_liger_kernel_available

from mmst_cli.config.rules_loss import loss_keys, loss_layers
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, MmstError, is_memory_shortage
from mmst_cli.model.precision import Precision
from mmst_cli.model.random_state import randomness_kept
from mmst_cli.rows.columns import RowSet
from mmst_cli.training.argument_faults import in_words, told_by_key
from mmst_cli.training.collator import BAD_ROWS
from mmst_cli.training.endings import less_memory
from mmst_cli.training.gradients import compute_gradients
from mmst_cli.training.learning_rates import check_rates
from mmst_cli.training.optimizer_state import state_bytes, step_beside
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.vectors.data_workers import Cost, one_thread
from mmst_cli.vectors.prepared_batches import feature_bytes

ROWS = 8  # of each dataset, through loss and gradients
TIMED = 2  # of them, prepared once more


@dataclass
class Rehearsal:
    """What was seen of a run while it was tried."""

    steps: int = 0
    """That the run takes."""
    tokens: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Least and most tokens of a few rows, by `dataset.column`."""
    state_bytes: int = 0
    """That the optimizer will keep."""


def rehearse(
    config: Config,
    precision: Precision,
    build: Callable[[Path, list[Any]], RunTrainer],
    then: Callable[[RunTrainer], None] = lambda _: None,
) -> Rehearsal:
    """Build what the trainer builds, compute the loss of a few rows of each dataset and its gradients, and count steps.

    Weights, buffers and random states are afterwards what they were, so that the run is the same with it and without.

    Args:
        config: the whole config.
        precision: of forward passes.
        build: makes the trainer of the run, given a folder and callbacks.
        then: what else is tried with that trainer.

    Raises:
        ConfigError: something doesn't fit; the message begins with the key.
        DataError: a row that the loss is tried on can't be read.
    """
    seen = Rehearsal()
    with randomness_kept(), tempfile.TemporaryDirectory() as folder:
        with told_by_key(config.training):
            trainer = build(Path(folder), [])
        with _state_kept(trainer):
            seen.steps = _try_schedule(trainer, config.training)
            _try_changes_of_model(trainer, config.training)
            for drawn, rows in trainer.drawn:
                _try_loss(config, precision, trainer, drawn, rows, seen)
            then(trainer)
            seen.state_bytes = state_bytes(trainer)
    return seen


def _try_schedule(trainer: RunTrainer, training: Mapping[str, Any]) -> int:
    """Build the loader, the optimizer and the scheduler, and return how many steps there are to take; none is."""
    with told_by_key(training, "dataloader"):
        loader = trainer.get_train_dataloader()
    with told_by_key(training, "max_steps"):
        steps = trainer.set_initial_training_values(trainer.args, loader)[-1]
    check_rates(trainer.args.learning_rate_mapping, trainer.losses)
    with told_by_key(training, "optim", "learning_rate_mapping"):
        trainer.create_optimizer()
        step_beside(trainer)
    with told_by_key(training, "lr_scheduler"):
        scheduler: Any = trainer.create_scheduler(num_training_steps=steps)
        for factor in getattr(scheduler, "lr_lambdas", ()):
            found = [factor(step) for step in sorted({0, 1, steps // 2, max(steps - 1, 0), steps})]
            if wrong := [value for value in found if isinstance(value, complex) or not cmath.isfinite(value)]:
                raise ValueError(f"it makes the learning rate {wrong[0]}")
    return int(steps)


def _try_changes_of_model(trainer: RunTrainer, training: Mapping[str, Any]) -> None:
    """Do to the model what the trainer does to it where arguments ask for it."""
    arguments, model = trainer.args, trainer.model
    if arguments.use_liger_kernel and not is_liger_kernel_available():
        raise ConfigError(
            "training.use_liger_kernel: found true. There is no liger-kernel here. Install it, or leave it out."
        )
    if arguments.activation_checkpointing:  # makes no difference before training, so it stays on
        with told_by_key(training, "gradient_checkpointing", "activation_checkpointing"):
            options = dict(arguments.activation_checkpointing_kwargs or {})
            own = {name: options.pop(name) for name in ("every_n_layers", "offload") if name in options}
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options or None, **own)
    if arguments.torch_compile:
        with told_by_key(training, "torch_compile"):
            torch.compile(nn.Identity(), backend=arguments.torch_compile_backend, mode=arguments.torch_compile_mode)
    if trainer.neftune_noise_alpha is not None:
        with told_by_key(training, "neftune", note="No noise can be added to embeddings of this model: "):
            trainer.neftune_hook_handle = activate_neftune(model, trainer.neftune_noise_alpha, trainer.accelerator)
            deactivate_neftune(model, trainer.neftune_hook_handle, trainer.accelerator)


def _try_loss(
    config: Config, precision: Precision, trainer: RunTrainer, drawn: Any, rows: RowSet, seen: Rehearsal
) -> None:
    """Compute the loss of a few rows of one dataset, and its gradients."""
    chosen = _some_rows(drawn, min(ROWS, trainer.args.train_batch_size))
    key = loss_keys(config)[rows.key]
    layers = [layer.type for layer in loss_layers(config, key)]
    advice = "Look at its arguments and at the columns it is given, the label above all, or take another loss."
    if len(layers) > 1:
        advice = f"Leave out {layers[-1]}, or wrap another loss."
    try:
        batch = trainer.data_collator(chosen)
        if len(batch.pop(BAD_ROWS, ())) == len(chosen):
            return
        _note_cost(trainer, chosen, rows)
        _note_tokens(batch, rows, seen)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Using a target size")  # a label of one number would be each of a vector's
            compute_gradients(trainer, precision, batch)
    except MmstError:
        raise
    except Exception as error:
        if is_memory_shortage(error):
            raise ConfigError(less_memory(config, f"on {len(chosen)} rows of datasets.{rows.key}", [key])) from error
        raise ConfigError(
            f"{key}: {' in '.join(layers)} can't be computed on rows of datasets.{rows.key}: {in_words(error)} {advice}"
        ) from error


def _note_cost(trainer: RunTrainer, chosen: list[dict[str, Any]], rows: RowSet) -> None:
    """Take the time of preparing a few rows that were prepared once before: what is loaded for it is there."""
    if trainer.costs is None:
        return
    begun = time.perf_counter()
    with one_thread():
        batch = trainer.data_collator(chosen[:TIMED])
    count = len(chosen[:TIMED])
    trainer.costs[rows.key] = Cost((time.perf_counter() - begun) / count, feature_bytes(batch) // count)


def _note_tokens(batch: Mapping[str, Any], rows: RowSet, seen: Rehearsal) -> None:
    for column in rows.columns:
        mask = batch.get(f"{column.name}_attention_mask")
        if isinstance(mask, torch.Tensor) and mask.ndim == 2:
            counts = mask.sum(dim=1)
            seen.tokens[f"{rows.key}.{column.name}"] = int(counts.min()), int(counts.max())


def _some_rows(drawn: Any, count: int) -> list[dict[str, Any]]:
    """Return a few rows from all over a dataset, or the first of a stream."""
    if not hasattr(drawn, "__len__"):
        return list(islice(iter(drawn), count))
    count = min(count, len(drawn))
    return [drawn[index * len(drawn) // count] for index in range(count)]


@contextmanager
def _state_kept(trainer: RunTrainer) -> Iterator[None]:
    """Bring back buffers (means and variances of BatchNorm) and modes of modules, and leave no gradients.

    Hooks stay: transformers installs those that collect the outputs of layers once, at the first forward pass, and
    without them losses of layers would find one layer alone.
    """
    everything = nn.ModuleList([trainer.model, *(loss for loss in trainer.losses if isinstance(loss, nn.Module))])
    buffers = [(buffer, buffer.detach().clone()) for buffer in everything.buffers()]
    modes = [(module, module.training) for module in everything.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                if buffer.shape == before.shape:
                    buffer.copy_(before)
        for module, mode in modes:
            module.training = mode
        everything.zero_grad(set_to_none=True)
