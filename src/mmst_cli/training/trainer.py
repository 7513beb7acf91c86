"""SentenceTransformerTrainer with typed columns, our run folder, and a watch on losses, gradients and weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import cached_property
from typing import Any

from torch import nn
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from mmst_cli import processes
from mmst_cli.errors import WorkError, is_memory_shortage
from mmst_cli.model.broken_weights import broken_weights
from mmst_cli.training.collator import BAD_ROWS, DRAWN_ROWS, NAME, ROWS, TOKENS
from mmst_cli.training.dead_run import DeadRunError, Watch
from mmst_cli.training.host_batches import DueInputs, is_cached
from mmst_cli.training.model_flops import FlopMeter, peak_flops
from mmst_cli.training.shared_gradients import average_gradients
from mmst_cli.training.trainer_batches import BatchTrainer
from mmst_cli.training.trainer_checkpoints import CheckpointTrainer
from mmst_cli.vectors.shared_encoding import told_of_shares


class RunTrainer(BatchTrainer, CheckpointTrainer):
    """The trainer of sentence-transformers, watched and printing nothing by itself.

    Args:
        loss: the loss, or one a dataset, by its name.
        arguments: what BatchTrainer, CheckpointTrainer and SentenceTransformerTrainer take.
    """

    def __init__(self, *, loss: nn.Module | Mapping[str, nn.Module], **arguments: Any) -> None:
        self.watch, self.batch_rows, self.rows_seen, self.tokens = Watch(), 0, 0, 0
        args = arguments["args"]
        mixed = (args.bf16 or args.fp16) and not args.torch_compile
        self.flops = FlopMeter(peak_flops(args.device) if mixed else None)
        super().__init__(loss=next(iter(loss.values())) if isinstance(loss, Mapping) else loss, **arguments)
        if isinstance(loss, Mapping):  # only now: at first the trainer would want every set in a DatasetDict
            self.loss = {name: self.prepare_loss(one, self.model) for name, one in loss.items()}
        for one in filter(self.stays_on_host, self.losses):
            DueInputs(args.device, self.raw, self.account).watch(one)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **keywords: Any) -> Any:
        """Compute the loss of a batch after taking down what was left out of it: in training, evaluation, a dry run.

        Raises:
            DataError: more rows were left out than may be, or no row is left.
        """
        self.batch_rows = inputs.pop(ROWS, 0)
        self.rows_seen += self.batch_rows
        left_out = inputs.pop(BAD_ROWS, ())
        inputs.pop(DRAWN_ROWS, None)
        self.tokens += inputs.pop(TOKENS, 0)
        for bad in left_out:
            self.bad_rows.add(bad)
        if left_out and inputs.keys() <= {NAME}:
            self.bad_rows.refuse_empty_batch(inputs[NAME], len(left_out))
        with self.account.spent("forward", waits=True), self.flops.counted():
            return super().compute_loss(model, inputs, *arguments, **keywords)

    def get_optimizer_cls_and_kwargs(self, args: Any, model: Any = None) -> tuple[Any, Any]:
        """Return what the library does, whatever datasets are called: it makes modules of their losses by their names.

        As a module none may be called `train`, which one has already.
        """
        losses = self.loss
        if isinstance(losses, Mapping):
            self.loss = {_module_name(name): loss for name, loss in losses.items()}
        try:
            return super().get_optimizer_cls_and_kwargs(args, model)  # type: ignore[no-any-return]
        finally:
            self.loss = losses

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Compute the loss of a batch and its gradients, and remember both the loss and the rows."""
        rows = inputs.pop(DRAWN_ROWS, None)
        several = processes.count() > 1
        alone = several and not is_cached(self.loss_of(inputs))
        with self.account.spent("backward", waits=True):  # what is neither copying nor forward
            with model.no_sync() if alone else nullcontext():
                loss = super().training_step(model, inputs, num_items_in_batch)
            if several and self.accelerator.sync_gradients:  # of accumulated batches the last one
                average_gradients([*(model.parameters() if alone else ()), *self.own_weights])
        self.watch.add(rows, loss)
        return loss

    @cached_property
    def own_weights(self) -> list[nn.Parameter]:
        """The parameters that losses train beside the model's, each once."""
        models = {id(parameter) for parameter in self.model.parameters()}
        every = nn.ModuleList(self.losses).parameters()
        return [parameter for parameter in every if parameter.requires_grad and id(parameter) not in models]

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Return the length of the gradient, which is the last thing to be seen before the weights change.

        Raises:
            DeadRunError: it or a loss of the step is not finite.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.watch.check(self.state.global_step + 1, norm, scaled=self.accelerator.scaler is not None)
        return norm

    def check_weights(self) -> None:
        """Check that the weights are worth keeping.

        Raises:
            DeadRunError: a parameter is not finite.
        """
        if name := broken_weights(self.model):
            found = f"the weights in {name} are not finite after it"
            raise DeadRunError(self.state.global_step, found, self.watch.batches)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint.

        Raises:
            DeadRunError: a parameter is not finite; nothing is written, and the older checkpoints stay.
        """
        with self.account.spent("saving"):
            self.check_weights()
            super()._save_checkpoint(model, trial)

    def evaluate(self, *arguments: Any, **keywords: Any) -> Any:
        """Evaluate, and count all of the time as that."""
        counted = self.rows_seen, self.tokens
        with self.account.spent("evaluation"):
            found = super().evaluate(*arguments, **keywords)
        self.rows_seen, self.tokens = counted
        return found

    def prediction_step(self, model: Any, inputs: dict[str, Any], *arguments: Any, **keywords: Any) -> Any:
        """Compute the loss of a batch that is evaluated.

        Raises:
            DeadRunError: it is no number.
        """
        rows = inputs.pop(DRAWN_ROWS, None)
        found = super().prediction_step(model, inputs, *arguments, **keywords)
        if found[0] is not None and not bool(found[0].isfinite().all()):
            said = f"the loss of a batch that is evaluated is {float(found[0].mean())}"
            raise DeadRunError(self.state.global_step, said, [] if rows is None else [rows])
        return found

    def evaluation_loop(self, *arguments: Any, **keywords: Any) -> Any:
        """Evaluate as ST's trainer does, which shares the encoding over the processes.

        Raises:
            WorkError: a process couldn't encode its share, or there is no room for a batch of which the loss is
                evaluated, on the device or the host. Halved it would be another loss, whose negatives are fewer.
        """
        if processes.count() > 1:  # the trainer's own counts by the dataset's length, as if batches had been padded
            self.gather_function = lambda losses: self.accelerator.gather(losses[: self.batch_rows])
        try:
            with told_of_shares():
                return super().evaluation_loop(*arguments, **keywords)
        except Exception as error:
            if not is_memory_shortage(error):
                raise
            size = self.args.per_device_eval_batch_size
            raise WorkError(
                f"training.per_device_eval_batch_size: out of memory with {size} rows in a batch of"
                " which the loss is evaluated. Lower it."
            ) from error


def _module_name(dataset: str) -> str:
    return f"{dataset}_loss" if hasattr(nn.Sequential(), dataset) else dataset
