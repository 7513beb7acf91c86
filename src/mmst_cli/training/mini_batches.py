"""`mini_batch_size: auto`: the most rows that a cached loss can take through the model at a time, found by trying.

What is tried is what training does: real rows, those with the most tokens, forward and backward as the loss does them,
beside gradients, and with room for what the optimizer and several processes will hold. Last comes a whole batch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import nn

from mmst_cli import processes
from mmst_cli.config.automatic_sizes import automatic_losses, default_size, size_key
from mmst_cli.config.rules_loss import loss_keys, loss_layers
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError
from mmst_cli.model import device_memory
from mmst_cli.model.device_memory import DeviceMemory, find_largest, not_measured, room_in
from mmst_cli.model.precision import Precision
from mmst_cli.planning.devices import GIB
from mmst_cli.training.collator import NAME
from mmst_cli.training.endings import less_memory
from mmst_cli.training.gradients import compute_gradients
from mmst_cli.training.host_batches import cached_part, takes_mini_batches
from mmst_cli.training.large_rows import largest_rows
from mmst_cli.training.optimizer_state import state_bytes, trained_parameters
from mmst_cli.training.trainer import RunTrainer

Rows = list[dict[str, Any]]
_GATHER = "all_gather_with_grad"  # as the modules of losses call what gathers rows across devices


def check_automatic(config: Config, model: nn.Module) -> None:
    """Check that the size of mini-batches changes no more of what a model learns than rounding.

    Raises:
        ConfigError: it holds BatchNorm.
    """
    keys = automatic_losses(config)
    if keys and any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise ConfigError(
            f"{size_key(keys[0])}: found auto, but the model holds BatchNorm, which normalises by the rows it sees"
            " together: what it learns would depend on the memory of the device. Write a number, that of"
            " training.per_device_train_batch_size if it fits."
        )


def find_sizes(config: Config, precision: Precision, trainer: RunTrainer, say: Callable[[str], None]) -> dict[str, int]:
    """Return the size of mini-batches by the dotted key of each loss that says auto, and set it.

    All processes find the same. Random states and buffers are not what they were; the rehearsal brings them back.

    Args:
        config: the whole config.
        precision: of forward passes.
        trainer: one that has its optimizer, and does to the model what the run does.
        say: takes a sentence for each.

    Raises:
        ConfigError: the loss takes no mini-batches, or there is no room for a single row.
    """
    found = {}
    for key in automatic_losses(config):
        names = [name for name, of_set in loss_keys(config).items() if of_set == key]
        sets = [(drawn, rows) for drawn, rows in trainer.drawn if rows.key in names]
        loss = trainer.loss_of({NAME: names[0]})
        if not takes_mini_batches(loss):
            kind = loss_layers(config, key)[0].type
            raise ConfigError(f"{size_key(key)}: {kind} takes no mini-batches as it is declared here. Leave it out.")
        memory = device_memory.memory_of(trainer.model.device)
        if memory is None:
            found[key] = default_size(config, key)
            say(f"{size_key(key)}: auto is {found[key]}, as if left out, for {not_measured(trainer.model.device)}.")
        else:
            trial = Trial(trainer, precision, memory, cached_part(loss))
            found[key] = trial.find([large for drawn, rows in sets if (large := largest_rows(trainer, drawn, rows))])
            clear_device_cache()
            if not found[key]:
                raise ConfigError(less_memory(config, f"on a single row of {' and '.join(names)}", [key]))
            say(
                f"{size_key(key)}: auto is {found[key]}: so many of the rows with the most tokens at a time, and all"
                f" that training holds, take {trial.taken / GIB:.2f} of {memory.total / GIB:.2f} GiB."
            )
        cached_part(loss).mini_batch_size = found[key]
    return found


class Trial:
    """Computes losses and gradients, and tells what that takes of the device."""

    def __init__(self, trainer: RunTrainer, precision: Precision, memory: DeviceMemory, loss: Any) -> None:
        self.trainer, self.precision, self.memory, self.loss = trainer, precision, memory, loss
        self.parameters = trained_parameters(trainer)
        self.later = state_bytes(trainer)
        if processes.count() > 1:  # gradients are copied to be exchanged
            self.later += sum(parameter.nbytes for parameter in self.parameters)
        self.room, self.batch = room_in(memory, self.later), trainer.args.train_batch_size
        self.taken = 0

    def find(self, sets: Sequence[Rows]) -> int:
        """Return the size for rows of several sets, the largest first; 0 if a single row has no room."""
        size = self.batch
        for rows in sets:
            size = find_largest(partial(self._peak_of_largest, rows), size, self.room)
        wanted, size = 0, min(map(int, processes.gather(size)))
        while size and size != wanted:
            again, wanted = wanted > 0, size
            size = min(map(int, processes.gather(self._fitting_whole(sets, size, again=again))))
        return size

    def _peak_of_largest(self, rows: Rows, size: int) -> int | None:
        return self.peak(rows, size, size)

    def _fitting_whole(self, sets: Sequence[Rows], size: int, *, again: bool) -> int:
        """Return the size if whole batches fit with it, else one to try next: somewhat less, and half from then on."""
        peaks = [self.peak(rows, self.batch, size) for rows in sets]
        if None in peaks:
            return size // 2
        most = max([0, *(peak for peak in peaks if peak is not None)])
        self.taken = most + self.later
        if most <= self.room:
            return size
        return size // 2 if again else min(size - 1, int(0.9 * size * self.room / most))

    def peak(self, rows: Rows, count: int, size: int) -> int | None:
        """Return what a batch of so many rows takes, in mini-batches of a size; fewer rows come again."""
        self.loss.mini_batch_size = size
        batch = (rows * -(-count // len(rows)))[:count]
        with _gathered_alone(self.loss):
            return self.memory.peak_of(lambda: self._compute(batch))

    def _compute(self, rows: Rows) -> None:
        try:
            for parameter in self.parameters:  # as it is from the second mini-batch on
                parameter.grad = torch.zeros_like(parameter)
            compute_gradients(self.trainer, self.precision, self.trainer.data_collator(rows))
        finally:
            for parameter in self.parameters:
                parameter.grad = None


@contextmanager
def _gathered_alone(loss: nn.Module) -> Iterator[None]:
    """Let a loss that gathers rows across devices take its own in the place of theirs.

    A process that has no room would never come to the exchange, and the others would wait there.
    """
    if processes.count() == 1:
        yield
        return
    kinds = dict.fromkeys(kind for module in loss.modules() for kind in type(module).__mro__)
    known = ("sentence_transformers.", "mmst_cli.")
    names = dict.fromkeys(kind.__module__ for kind in kinds if kind.__module__.startswith(known))
    gathering = [sys.modules[name] for name in names if hasattr(sys.modules[name], _GATHER)]
    before = [getattr(module, _GATHER) for module in gathering]
    for module in gathering:
        setattr(module, _GATHER, _repeated)
    try:
        yield
    finally:
        for module, gather in zip(gathering, before, strict=True):
            setattr(module, _GATHER, gather)


def _repeated(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor] * processes.count())
