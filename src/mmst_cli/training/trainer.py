"""SentenceTransformerTrainer with typed columns, our run folder, and a clock on the data."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import BatchSamplers
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerState
from transformers.trainer_utils import has_length

from mmst_cli import processes
from mmst_cli.config.schema import Role
from mmst_cli.errors import ConfigError, DataError, WorkError
from mmst_cli.model.determinism import told_of_missing_algorithms
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.cells import as_label
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import row_keys
from mmst_cli.runs import RunFolder, mark_whole
from mmst_cli.training.batch_shares import BatchShares
from mmst_cli.training.best_weights import best_so_far, load_best, load_weights
from mmst_cli.training.collator import BAD_ROWS, DRAWN_ROWS, NAME, ROWS, TypedCollator, label_columns, routed_tasks
from mmst_cli.training.dead_run import DeadRunError, Watch, broken_weights
from mmst_cli.training.resumed_state import AskedSettings, lacks_optimizer, load_loss_weights, save_loss_weights
from mmst_cli.training.stop_signals import outlive_first_sigterm
from mmst_cli.vectors.shared_encoding import told_of_shares

_DUPLICATE_FREE = (BatchSamplers.NO_DUPLICATES, BatchSamplers.NO_DUPLICATES_HASHED)


class RunTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The trainer of sentence-transformers, saving safetensors only and printing nothing by itself.

    Args:
        train: the sets to train on; one alone is trained on as it is, several as a DatasetDict.
        evaluated: the sets whose loss is evaluated; may be empty.
        loss: the loss, or one a dataset, by its name.
        prompts: dataset to column to prompt.
        write_card: writes a model card into a folder, in place of the generated one, which would decode
            rows and embed texts as media to describe them.
        bad_rows: takes the rows that are left out of their batches because they can't be read.
        keys: dataset to what tells its rows apart, where another trainer computed it; what this one does is added.
        arguments: what SentenceTransformerTrainer takes.
    """

    def __init__(
        self,
        *,
        train: Sequence[RowSet],
        evaluated: Sequence[RowSet],
        loss: nn.Module | Mapping[str, nn.Module],
        prompts: Mapping[str, Mapping[str, str]],
        write_card: Callable[[Path], None],
        bad_rows: BadRows | None = None,
        keys: dict[str, Dataset] | None = None,
        **arguments: Any,
    ) -> None:
        self.bad_rows = bad_rows or BadRows({})
        self.row_sets = [*train, *evaluated]
        self.column_prompts, self.write_card = prompts, write_card
        self.data_seconds, self.batch_rows = 0.0, 0
        self.watch = Watch()
        self.warn: Callable[[str], None] = logging.getLogger(__name__).warning
        drawn = [_named(rows) if len(train) > 1 else rows.rows for rows in train]
        drawn += [_named(rows) for rows in evaluated]
        self.drawn = list(zip(drawn, self.row_sets, strict=True))
        self.keys = {} if keys is None else keys
        self.mixes_sets = False
        super().__init__(
            train_dataset=_together(self.drawn[: len(train)]),
            eval_dataset=_together(self.drawn[len(train) :]),
            loss=next(iter(loss.values())) if isinstance(loss, Mapping) else loss,
            **arguments,
        )
        if isinstance(loss, Mapping):  # only now: at first the trainer would want every set in a DatasetDict
            self.loss = {name: self.prepare_loss(one, self.model) for name, one in loss.items()}
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_data_collator(self, model: Any, args: Any, processing_class: Any = None) -> TypedCollator:
        """Return a collator that knows the declared columns, and so needs no mapping of columns to routes."""
        return TypedCollator(
            preprocess_fn=model.preprocess, router_mapping=args.router_mapping, prompts=args.prompts
        ).declare(self.row_sets, self.column_prompts, routed_tasks(model))

    def should_dataset_name_column_be_added(self, *_: Any) -> bool:
        """Say no: where rows need the name of their set, they have it."""
        return False

    def _build_dataloader(self, dataset: Any, batch_size: int, dataset_kind: str) -> Any:
        """Draw batches for all processes together: each gets its share of every one."""
        self.mixes_sets = isinstance(dataset, DatasetDict)
        loader = super()._build_dataloader(dataset, batch_size * processes.count(), dataset_kind)
        if loader.num_workers:
            loader.worker_init_fn = outlive_first_sigterm
        return loader

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
        if self.args.batch_sampler in _DUPLICATE_FREE:
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

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the run has a card of its own."""

    def get_batch_samples(self, *arguments: Any, **keywords: Any) -> Any:
        """Fetch the batches of a step, adding up how long the step waited for them.

        Raises:
            DataError: a row can't be read; the message names dataset, row and column.
        """
        begun = time.perf_counter()
        try:
            return super().get_batch_samples(*arguments, **keywords)
        except DataError as error:
            # From a worker it comes with the worker's traceback for a message, which ends in the sentence.
            raise DataError(str(error).rpartition(f"{DataError.__name__}: ")[2].strip()) from error
        finally:
            self.data_seconds += time.perf_counter() - begun

    def train(self, resume_from_checkpoint: str | None = None, **keywords: Any) -> Any:
        """Train, from a checkpoint if one is named; of a run that had taken all its steps take its last state.

        The library would take one step more, since it looks at ``max_steps`` only after each.

        Raises:
            WorkError: full determinism is asked for, and an operation has no deterministic algorithm.
        """
        state = Path(resume_from_checkpoint or "") / TRAINER_STATE_NAME
        if resume_from_checkpoint is None or not 0 < self.args.max_steps <= _step_in(state):
            with told_of_missing_algorithms():
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **keywords)
        self._load_from_checkpoint(resume_from_checkpoint)
        self.state = TrainerState.load_from_json(str(state))
        if self.args.load_best_model_at_end:
            self.state.best_model_checkpoint = best_so_far(RunFolder(Path(self.args.output_dir)), state.parent)
            if self.state.best_model_checkpoint is not None:
                self._load_best_model()
        return None

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Return what the trainer counts by: steps, epochs, examples.

        Raises:
            ConfigError: there is no batch to count.
        """
        if has_length(dataloader) and not len(dataloader):
            raise ConfigError(no_batch(self))
        return super().set_initial_training_values(args, dataloader)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **keywords: Any) -> Any:
        """Compute the loss of a batch after taking down what was left out of it: in training, evaluation, a dry run.

        Raises:
            DataError: more rows were left out than may be, or no row is left.
        """
        self.batch_rows = inputs.pop(ROWS, 0)
        left_out = inputs.pop(BAD_ROWS, ())
        inputs.pop(DRAWN_ROWS, None)
        for bad in left_out:
            self.bad_rows.add(bad)
        if left_out and inputs.keys() <= {NAME}:
            self.bad_rows.refuse_empty_batch(inputs[NAME], len(left_out))
        return super().compute_loss(model, inputs, *arguments, **keywords)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Compute the loss of a batch and its gradients, and remember both the loss and the rows."""
        rows = inputs.pop(DRAWN_ROWS, None)
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.watch.add(rows, loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the length of the gradient, which is the last thing to be seen before the weights change.

        Raises:
            DeadRunError: it or a loss of the step is not finite.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.watch.check(self.state.global_step + 1, norm, scaled=self.accelerator.scaler is not None)
        return norm

    def prediction_step(self, *arguments: Any, **keywords: Any) -> Any:
        """Compute the loss of a batch that is evaluated.

        Raises:
            WorkError: there is no room for it. Halved it would be another loss, whose negatives are fewer.
        """
        try:
            return super().prediction_step(*arguments, **keywords)
        except torch.OutOfMemoryError as error:
            size = self.args.per_device_eval_batch_size
            raise WorkError(
                f"training.per_device_eval_batch_size: out of memory with {size} rows in a batch of"
                " which the loss is evaluated. Lower it."
            ) from error

    def check_weights(self) -> None:
        """Check that the weights are worth keeping.

        Raises:
            DeadRunError: a parameter is not finite.
        """
        if name := broken_weights(self.model):
            found = f"the weights in {name} are not finite after it"
            raise DeadRunError(self.state.global_step, found, self.watch.batches)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint, and only once all of it counts remove those that are older than are kept.

        Raises:
            DeadRunError: a parameter is not finite; nothing is written, and the older checkpoints stay.
        """
        self.check_weights()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        processes.wait()  # until every process has written its part
        if self.args.should_save:
            run = RunFolder(Path(self.args.output_dir))
            mark_whole(run.path / f"checkpoint-{self.state.global_step}")
            run.drop_replaced()  # from here on --resume goes on with this run
            run.drop_old_checkpoints(limit, self.state.best_model_checkpoint)

    def _load_best_model(self) -> None:
        """Put the weights of the best checkpoint into the model that is there.

        Raises:
            WorkError: they can't be read; the last model is not taken in their place.
        """
        load_best(self.model, self.state)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        load_weights(self.model, Path(checkpoint_path))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up the state of a checkpoint, with the settings that are asked for now.

        Raises:
            ConfigError: the weights of the loss are others than the loss has.
        """
        if checkpoint is None:
            return
        asked = AskedSettings(self.optimizer, self.lr_scheduler)
        super()._load_optimizer_and_scheduler(checkpoint)
        folder = Path(checkpoint)
        if said := load_loss_weights(folder, self.loss, self.model):
            self.warn(said)
        alone = lacks_optimizer(folder)
        if alone:
            self.warn(
                f"{checkpoint} holds no state of the optimizer (training.save_only_model): its averages begin anew, so"
                " that the run ends with other weights than without the interruption."
            )
        if not (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            asked.apply(self.optimizer, self.lr_scheduler, self.state.global_step if alone else None)
        # Those of the checkpoint's own state would be kept otherwise.
        self.state.compute_steps(self.args, self.state.max_steps)

    def evaluation_loop(self, *arguments: Any, **keywords: Any) -> Any:
        """Evaluate as ST's trainer does, which shares the encoding over the processes.

        Raises:
            WorkError: a process couldn't encode its share.
        """
        if processes.count() > 1:  # the trainer's own counts by the dataset's length, as if batches had been padded
            self.gather_function = lambda losses: self.accelerator.gather(losses[: self.batch_rows])
        with told_of_shares():
            return super().evaluation_loop(*arguments, **keywords)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # it is called in every process
            return
        folder = Path(output_dir or os.fspath(self.args.output_dir))
        self.model.save_pretrained(str(folder), create_model_card=False)
        save_loss_weights(folder, self.loss, self.model)
        self.write_card(folder)


def _step_in(state: Path) -> int:
    """Return the step of a saved state; -1 where it has none."""
    return int(TrainerState.load_from_json(str(state)).global_step) if state.is_file() else -1


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


def no_batch(trainer: RunTrainer) -> str:
    """Return the sentence about data that no whole batch can be drawn from; the trainer itself would take no step."""
    return (
        f"training.per_device_train_batch_size: no batch of {trainer.args.train_batch_size} rows can be drawn from"
        " the training data. Lower it, or leave out dataloader_drop_last."
    )
