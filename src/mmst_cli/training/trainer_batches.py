"""The batches of a run: from several sets, chosen by what tells rows apart, shared out to the processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import BatchSamplers
from torch import nn
from transformers.trainer_utils import has_length

from mmst_cli import processes
from mmst_cli.config.rules_loss import DUPLICATE_FREE
from mmst_cli.config.schema import Role
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.model.preprocessor import runs_anywhere
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.cells import as_label
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import row_keys
from mmst_cli.training.batch_shares import BatchShares
from mmst_cli.training.collator import NAME, TypedCollator, build_collator, label_columns, raw_pixels_for
from mmst_cli.training.host_batches import left_on_host, takes_mini_batches
from mmst_cli.training.renewed_negatives import RenewedNegatives
from mmst_cli.training.stop_signals import end_workers_at_exit, outlive_first_sigterm
from mmst_cli.training.time_account import TimeAccount
from mmst_cli.vectors.data_workers import BeginWorker, Cost, Workers, choose_workers


class BatchTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """What of the trainer draws batches.

    Args:
        train: the sets to train on; one alone is trained on as it is, several as a DatasetDict.
        evaluated: the sets whose loss is evaluated; may be empty.
        prompts: dataset to column to prompt.
        bad_rows: takes the rows that are left out of their batches because they can't be read.
        keys: dataset to what tells its rows apart, where another trainer computed it; what this one does is added.
        costs: dataset to what preparing a row of it takes, by which it is chosen how many processes do that; None where
            the arguments say.
        renewed: gives sets other negatives as epochs begin.
        arguments: what SentenceTransformerTrainer takes.
    """

    def __init__(
        self,
        *,
        train: Sequence[RowSet],
        evaluated: Sequence[RowSet],
        prompts: Mapping[str, Mapping[str, str]],
        bad_rows: BadRows | None = None,
        keys: dict[str, Dataset] | None = None,
        costs: dict[str, Cost] | None = None,
        renewed: RenewedNegatives | None = None,
        **arguments: Any,
    ) -> None:
        self.costs, self.renewed = costs, renewed
        self._train_count, self._loader_of_epoch = len(train), None
        self.bad_rows = bad_rows or BadRows({})
        self.row_sets = [_drawn_only(rows) for rows in (*train, *evaluated)]
        self.column_prompts, self.keys = prompts, {} if keys is None else keys
        self.mixes_sets = False
        self.account = TimeAccount(arguments["args"].device)
        model = arguments["model"]
        self.raw = raw_pixels_for(model, self.row_sets)
        _no_more_than_there_are(arguments["args"], evaluated)
        self.drawn = self._draw()
        super().__init__(
            train_dataset=_together(self.drawn[: len(train)]),
            eval_dataset=_together(self.drawn[len(train) :]),
            **arguments,
        )

    def _draw(self) -> list[tuple[Any, RowSet]]:
        """Return what is drawn from of each set: of those that don't train alone rows that carry its name."""
        alone = self._train_count == 1
        return [(rows.rows if alone and not n else _named(rows), rows) for n, rows in enumerate(self.row_sets)]

    def get_data_collator(self, model: Any, args: Any, processing_class: Any = None) -> TypedCollator:
        """Return a collator that knows the declared columns, and so needs no mapping of columns to routes."""
        return build_collator(model, args, self.row_sets, self.column_prompts, self.raw)

    def should_dataset_name_column_be_added(self, *_: Any) -> bool:
        """Say no: where rows need the name of their set, they have it."""
        return False

    def _build_dataloader(self, dataset: Any, batch_size: int, dataset_kind: str) -> Any:
        """Draw batches for all processes together: each gets its share of every one."""
        self.mixes_sets = isinstance(dataset, DatasetDict)
        before = self.args.dataloader_num_workers, self.args.dataloader_prefetch_factor
        if self.costs is not None:
            workers = self._workers_for(dataset, batch_size)
            self.args.dataloader_num_workers = workers.count
            self.args.dataloader_prefetch_factor = workers.prefetch if workers.count else None
        loader = super()._build_dataloader(dataset, batch_size * processes.count(), dataset_kind)
        if any(map(self.stays_on_host, self.losses)):
            loader.device = None  # or accelerate would copy whole batches, the next one before it is due
        if dataset_kind != "train":
            self.args.dataloader_num_workers, self.args.dataloader_prefetch_factor = before
        if loader.num_workers:
            loader.worker_init_fn = BeginWorker(self.args.device, outlive_first_sigterm)
            end_workers_at_exit()
        return loader

    def _workers_for(self, dataset: Any, batch_size: int) -> Workers:
        """Return how many processes prepare the batches of a set, or of several; none for streams, which they cut."""
        sets = list(dataset.values()) if isinstance(dataset, DatasetDict) else [dataset]
        names = [rows.key for drawn, rows in self.drawn if any(drawn is one for one in sets)]
        costs = [cost for name, cost in (self.costs or {}).items() if name in names]
        if not costs or not all(map(has_length, sets)) or not runs_anywhere(self.model):
            return Workers()
        cost = max(costs, key=lambda one: one.seconds)
        steps = self.args.max_steps
        rows = sum(map(len, sets)) * self.args.num_train_epochs if steps <= 0 else steps * batch_size
        return choose_workers(cost, batch_size, self.args.device, math.ceil(rows))

    @property
    def losses(self) -> list[nn.Module]:
        """The losses, each once."""
        return list(dict.fromkeys(self.loss.values() if isinstance(self.loss, Mapping) else [self.loss]))

    def loss_of(self, inputs: Mapping[str, Any]) -> Any:
        """Return the loss of a batch."""
        return self.loss[inputs[NAME]] if isinstance(self.loss, Mapping) else self.loss

    def stays_on_host(self, loss: nn.Module) -> bool:
        """Say whether the batches of a loss do, its mini-batches going to the device when they are due."""
        return takes_mini_batches(loss) and not self.args.torch_compile

    def _prepare_inputs(self, inputs: dict[str, Any]) -> Any:
        """Bring a batch to the device, but for what a loss takes in mini-batches."""
        rows = next(rows for rows in self.row_sets if rows.key == inputs[NAME])
        with self.account.spent("copy"):
            if self.stays_on_host(self.loss_of(inputs)):
                return left_on_host(inputs, [column.name for column in rows.columns], self.args.device)
            prepared = super()._prepare_inputs(inputs)
        if self.raw is not None:
            self.raw.restore(prepared)
        return prepared

    def _run_epoch(self, *arguments: Any, epoch: int, train_dataloader: Any, **keywords: Any) -> Any:
        """Take the steps of an epoch, once its negatives are there and what draws the batches knows which one it is.

        Accelerate tells it each epoch but the one that a resumed run begins in: through what skips batches it doesn't
        reach, and the rows of the first epoch would come again.
        """
        if self.renewed is not None:
            begun = epoch == keywords["epochs_trained"] and keywords["steps_trained_in_current_epoch"] > 0
            self._renew(epoch, begun=begun)
        if self._loader_of_epoch is not None:
            train_dataloader = self._loader_of_epoch
        drawing = getattr(getattr(train_dataloader, "batch_sampler", None), "batch_sampler", None)
        if isinstance(drawing, BatchShares):
            drawing.set_epoch(epoch)
        return super()._run_epoch(*arguments, epoch=epoch, train_dataloader=train_dataloader, **keywords)

    def _renew(self, epoch: int, *, begun: bool) -> None:
        """Draw from sets with the negatives of an epoch from here on, where they are others than until now."""
        assert self.renewed is not None
        with self.account.spent("mining"):
            found = self.renewed.bring_to(epoch, self.state.global_step, begun=begun, check=self.check_weights)
        if not found:
            return
        self.row_sets = [_drawn_only(found[rows.key]) if rows.key in found else rows for rows in self.row_sets]
        for name in found:
            self.keys.pop(name, None)
        self.drawn = self._draw()
        self.train_dataset = _together(self.drawn[: self._train_count])
        self.data_collator.renew(self.row_sets)
        _let_go(self._train_dataloader, self.accelerator)
        self._loader_of_epoch = self.get_train_dataloader()

    def check_weights(self) -> None:
        """Raise where the weights are not worth going on with."""

    def count_epochs(self) -> int:
        """Return how many epochs the run begins."""
        return int(self.set_initial_training_values(self.args, self.get_train_dataloader())[0])

    def get_multi_dataset_batch_sampler(self, *arguments: Any, **keywords: Any) -> Any:
        """Return ST's sampler of the batches of several sets, shared out to the processes."""
        return _shared_out(super().get_multi_dataset_batch_sampler(*arguments, **keywords))

    def get_batch_sampler(self, dataset: Any, *arguments: Any, **keywords: Any) -> Any:
        """Return ST's sampler, choosing by what tells rows apart and decoding nothing for it.

        Raises:
            ConfigError: the sampler refuses the rows or the batch size.
        """
        rows = next(rows for drawn, rows in self.drawn if drawn is dataset)
        keywords["valid_label_columns"] = label_columns(rows)
        if self.args.batch_sampler in DUPLICATE_FREE:
            dataset = self.keys[rows.key] = self.keys.get(rows.key) or row_keys(
                rows, self.bad_rows.of_dataset(rows.key)
            )
        elif self.args.batch_sampler == BatchSamplers.GROUP_BY_LABEL:
            labels = {c.name: as_label(list(rows.rows[c.sources[0]])) for c in rows.with_role(Role.label)}
            dataset = Dataset.from_dict(labels)
        try:
            batches = super().get_batch_sampler(dataset, *arguments, **keywords)
            return batches if self.mixes_sets else _shared_out(batches)
        except ValueError as error:
            raise ConfigError(f"training.batch_sampler: {rows.key}: {error}") from error

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Return what the trainer counts by: steps, epochs, examples.

        Raises:
            ConfigError: there is no batch to count.
        """
        if has_length(dataloader) and not len(dataloader):
            raise ConfigError(no_batch(self))
        return super().set_initial_training_values(args, dataloader)

    def get_batch_samples(self, *arguments: Any, **keywords: Any) -> Any:
        """Fetch the batches of a step, and count the time as waiting for data.

        Raises:
            DataError: a row can't be read; the message names dataset, row and column.
        """
        try:
            with self.account.spent("data"):
                return super().get_batch_samples(*arguments, **keywords)
        except DataError as error:
            # From a worker it comes with the worker's traceback for a message, which ends in the sentence.
            raise DataError(str(error).rpartition(f"{DataError.__name__}: ")[2].strip()) from error


def _let_go(loader: Any, accelerator: Any) -> None:
    """End the workers of a loader that nothing is drawn from any more, and forget it."""
    if (drawing := getattr(loader, "_iterator", None)) is not None:  # of workers that outlive an epoch
        drawing._shutdown_workers()
        loader._iterator = None
    accelerator._dataloaders = [one for one in accelerator._dataloaders if one is not loader]


def _drawn_only(rows: RowSet) -> RowSet:
    """Return rows of which nobody asks what they are called by content."""
    reader = copy(rows.reader)
    reader.names_whole = False
    return replace(rows, reader=reader)


def _no_more_than_there_are(args: Any, evaluated: Sequence[RowSet]) -> None:
    """Lower the rows of an evaluated batch to those there are: samplers make room for as many as are asked for."""
    if evaluated and not any(rows.is_stream for rows in evaluated):
        most = -(-max(1, *map(len, evaluated)) // processes.count())
        args.per_device_eval_batch_size = min(args.per_device_eval_batch_size, most)


def _shared_out(batches: Any) -> Any:
    return batches if processes.count() == 1 else BatchShares(batches, processes.count())


def _named(rows: RowSet) -> Dataset:
    """Return rows that carry the name of their set, given to them as they are drawn."""
    add = SentenceTransformerTrainer.add_dataset_name_transform
    return rows.rows.with_transform(partial(add, dataset_name=rows.key, **rows.rows._format_kwargs))


def _together(sets: Sequence[tuple[Any, RowSet]]) -> Any:
    if len(sets) < 2:
        return sets[0][0] if sets else None
    return DatasetDict({rows.key: drawn for drawn, rows in sets})


def no_batch(trainer: BatchTrainer) -> str:
    """Return the sentence about data that no whole batch can be drawn from; the trainer itself would take no step."""
    return (
        f"training.per_device_train_batch_size: no batch of {trainer.args.train_batch_size} rows can be drawn from"
        " the training data. Lower it, or leave out dataloader_drop_last."
    )
