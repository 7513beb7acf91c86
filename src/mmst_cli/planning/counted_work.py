"""What a run does, counted from its arguments and its rows: steps, samples, negatives, evaluations, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import DefaultFlowCallback, TrainerControl, TrainerState

from mmst_cli.config.rules_loss import IN_BATCH, loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_mining import mined_columns
from mmst_cli.config.schema import Config, Role
from mmst_cli.rows.columns import RowSet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformerTrainingArguments


@dataclass(frozen=True)
class Work:
    """What a run does."""

    rows: dict[str, int | None]
    """Rows of an epoch by training set, weighted; None of a stream, which has no count."""
    processes: int
    """That train together, each on a device of its own."""
    batch: int
    """Rows of a batch on a device, of the largest one where a set has fewer."""
    accumulated: int
    """Batches of a step."""
    steps: int
    samples: int
    """Rows that are trained on, all epochs together; at most, where the last batch of an epoch is smaller."""
    gathered: int
    """Devices whose rows are compared with each other: all of them, or one."""
    negatives: dict[str, int]
    """Other documents that an anchor is compared with in a batch, by training set; of losses that do so."""
    evaluations: int
    """That encode everything: before training, in it and after it."""
    inputs_per_evaluation: int | None
    """None where an evaluator doesn't say."""
    saves: int
    kept_checkpoints: int
    """That are on the disk at a time, at most."""

    @property
    def step_rows(self) -> int:
        """Rows of a step on all devices."""
        return self.batch * self.accumulated * self.processes

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Schedule:
    """How often a run evaluates and saves while it trains."""

    evaluations: int
    saves: int
    evaluates_last: bool
    """Whether its last step is evaluated."""


def steps_of_epoch(
    args: SentenceTransformerTrainingArguments, rows: Mapping[str, int | None], processes: int = 1
) -> int:
    """Return how many steps an epoch takes; 0 of streams, and of rows that fill no batch.

    steps = ceil(batches / gradient_accumulation_steps); batches are rows / batch of each set, of several sets together,
    or as many of each as of the smallest where they take turns.

    Args:
        args: the trainer's.
        rows: of an epoch by training set; None of a stream.
        processes: that take the rows of a batch together.
    """
    size = args.train_batch_size * processes
    whole = math.floor if args.dataloader_drop_last else math.ceil
    batches: list[int] = [whole((count or 0) / size) for count in rows.values()]
    together = str(getattr(args.multi_dataset_batch_sampler, "value", args.multi_dataset_batch_sampler))
    count: int = min(batches) * len(batches) if "round" in together else sum(batches)
    accumulated: int = args.gradient_accumulation_steps
    return math.ceil(count / accumulated)


def count_steps(args: SentenceTransformerTrainingArguments, of_epoch: int) -> int:
    """Return how many steps a run takes, as the trainer counts them: max_steps, or ceil(epochs x steps of an epoch)."""
    epochs: float = args.num_train_epochs
    return int(args.max_steps) if args.max_steps > 0 else math.ceil(epochs * of_epoch)


def schedule_of(args: SentenceTransformerTrainingArguments, steps: int, of_epoch: int) -> Schedule:
    """Return how often a run of so many steps evaluates and saves, asked of what the trainer asks.

    Args:
        args: the trainer's.
        steps: of the run.
        of_epoch: steps of an epoch; 0 where it has no end.
    """
    flow, control, state = DefaultFlowCallback(), TrainerControl(), TrainerState()
    state.max_steps = steps
    state.compute_steps(args, steps)
    ends = {*_multiples(of_epoch, steps), steps}
    evaluations = saves = 0
    last = False
    for step in sorted({*ends, *_multiples(state.eval_steps, steps), *_multiples(state.save_steps, steps)}):
        state.global_step, state.epoch = step, step / of_epoch if of_epoch else 0.0
        control.should_evaluate = control.should_save = False
        flow.on_step_end(args, state, control)
        if step in ends:
            flow.on_epoch_end(args, state, control)
        evaluations += control.should_evaluate
        saves += control.should_save
        last = control.should_evaluate
    return Schedule(evaluations, saves, last)


def _multiples(every: float | None, steps: int) -> Iterator[int]:
    """Yield the steps at which something may be due that is so every so many."""
    yield from range(math.ceil(every), steps + 1, math.ceil(every)) if every and every > 0 else ()


def count_work(
    config: Config,
    args: SentenceTransformerTrainingArguments,
    rows: Mapping[str, RowSet],
    steps: int | None,
    inputs: int | None,
    *,
    evaluates: bool,
    processes: int = 1,
) -> Work:
    """Return what a run does.

    Args:
        config: the whole config.
        args: the trainer's.
        rows: those that the loss is computed on, weighted, by dataset.
        steps: how many it takes, where the trainer counted them.
        inputs: of all evaluators together; None where one doesn't say.
        evaluates: whether there is an evaluator.
        processes: that train together: each takes its share of every batch.
    """
    training = {name: rows[name] for name in training_datasets(config)}
    counts = {name: None if one.is_stream else len(one) for name, one in training.items()}
    of_epoch = steps_of_epoch(args, counts, processes)
    steps = count_steps(args, of_epoch) if steps is None else steps
    schedule = schedule_of(args, steps, of_epoch)
    size = args.train_batch_size
    shares = {name: size if count is None else min(size, max(1, count // processes)) for name, count in counts.items()}
    batch = max(shares.values(), default=size)  # no more than there is
    samples = steps * batch * processes * args.gradient_accumulation_steps
    if args.max_steps <= 0 and not args.dataloader_drop_last and None not in counts.values():
        samples = min(samples, math.ceil(args.num_train_epochs * sum(count or 0 for count in counts.values())))
    in_training = schedule.evaluations if evaluates else 0
    best = bool(args.load_best_model_at_end)
    after = evaluates and (not schedule.evaluates_last or best)
    limit = args.save_total_limit or schedule.saves
    gathered = {name: processes if _gathers(config, name) else 1 for name in training}
    negatives = {name: negatives_of(config, one, shares[name] * gathered[name]) for name, one in training.items()}
    return Work(
        rows=counts,
        processes=processes,
        batch=batch,
        accumulated=args.gradient_accumulation_steps,
        steps=steps,
        samples=samples,
        gathered=max(gathered.values(), default=1),
        negatives={name: met for name, met in negatives.items() if met},
        evaluations=in_training + int(evaluates) + int(after),
        inputs_per_evaluation=inputs if evaluates else 0,
        saves=schedule.saves,
        kept_checkpoints=min(limit + best, schedule.saves),
    )


def _gathers(config: Config, dataset: str) -> bool:
    """Say whether the loss of a set compares the rows of all devices."""
    layers = loss_layers(config, loss_keys(config)[dataset])
    return any(layer.args.get("gather_across_devices") for layer in layers)


def negatives_of(config: Config, rows: RowSet, batch: int) -> int:
    """Return with how many other documents an anchor is compared: the batch's positives and negatives but its own.

    batch x (1 + negative columns, also those yet to be mined) - 1; 0 of losses that compare no rows with each other.
    """
    layers = loss_layers(config, loss_keys(config)[rows.key])
    if not layers or not any(part in layers[0].type for part in IN_BATCH):
        return 0
    is_mined = any(column.is_mined for column in rows.columns)
    to_be_mined = [] if is_mined else mined_columns(config.datasets[rows.key])
    return batch * (1 + len(rows.with_role(Role.negative)) + len(to_be_mined)) - 1
