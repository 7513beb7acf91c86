"""What a plan is computed from: columns sampled, a mini-batch of each kind counted, work and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.rules_mining import mined_columns, negative_names
from mmst_cli.config.schema import Config, Role
from mmst_cli.errors import first_line
from mmst_cli.model.precision import HALF, declared_precision
from mmst_cli.planning.counted_work import Work, count_work
from mmst_cli.planning.planned_memory import count_weights
from mmst_cli.planning.planned_run import Facts, PlannedColumn, feeding_of
from mmst_cli.planning.sampled_columns import InputColumn, SampledColumn, read_inputs, sample_column
from mmst_cli.planning.weightless_pass import PassCost, count_pass
from mmst_cli.processes import processors
from mmst_cli.terminal import Terminal
from mmst_cli.training.planned_job import PlannedJob, bytes_of_state, input_columns
from mmst_cli.training.run_settings import dims_of, evaluation_batch, inputs_of_evaluators, mini_batches_of
from mmst_cli.vectors.data_workers import Cost, Workers, choose_workers, workers_of

AGAIN = 4  # rows of a column that are looked at once more for a changed config
PASSED = 16  # inputs of a column that go through the model without weights at most; of more it is reckoned


@dataclass
class Looks:
    """What was looked at, kept for plans of changed configs; and what was found unknown or assumed on the way."""

    rows: int
    """Of each column, to look at."""
    samples: dict[Any, SampledColumn] = field(default_factory=dict)
    costs: dict[Any, PassCost | None] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    assumed: dict[str, None] = field(default_factory=dict)

    def fewer(self) -> Looks:
        """Return what was looked at, to look at fewer rows of what a changed config changes."""
        return replace(self, rows=min(self.rows, AGAIN))


def find_facts(
    job: PlannedJob,
    looks: Looks,
    terminal: Terminal,
    steps: int | None,
    device: torch.device,
    *,
    with_mined: bool = True,
) -> Facts:
    """Return everything that a plan is computed from.

    Args:
        job: what to look at.
        looks: what was looked at before; takes what is looked at now.
        terminal: where to show progress.
        steps: how many the run takes, where the trainer counted them.
        device: what kind of device the run is on.
        with_mined: whether negatives that are yet to be mined are there.
    """
    config = job.config
    columns = _look_at_columns(job, looks, terminal)
    columns += _to_be_mined(job, columns) if with_mined else []
    inputs = inputs_of_evaluators(config, job.evaluators, job.rows)
    work = count_work(
        config,
        job.args,
        job.loss_rows,
        steps,
        inputs,
        evaluates=bool(job.evaluators),
        processes=job.processes,
    )
    per_number, optimizer, tried = bytes_of_state(job.args, job.model)
    if not tried:
        looks.assumed[f"the state of {optimizer}, which doesn't run on this machine, by its name."] = None
    weights = count_weights(job.model, config.model, per_number, optimizer)
    looks.unknown |= dict.fromkeys(_left_open(work))
    workers = _choose_workers(config, columns, work, device)  # of each process
    fused = "fused" in optimizer or "8bit" in optimizer
    return Facts(
        work=work,
        weights=weights,
        columns=tuple(columns),
        mini_batches=mini_batches_of(config),
        feeding=feeding_of(columns, _side_by_side(workers, job.processes)),
        dims=dims_of(config),
        evaluation_batch=evaluation_batch(config),
        half=declared_precision(config.training).autocast is not None or job.model.dtype in HALF,
        only_model=bool(config.training.get("save_only_model")),
        adapter=config.model.adapter is not None,
        prepared_bytes=_prepared_bytes(config, columns),
        batches_ahead=1 + workers.count * workers.prefetch,
        copies=0.0 if fused else float(weights.trained_bytes),
    )


def _choose_workers(config: Config, columns: Sequence[PlannedColumn], work: Work, device: torch.device) -> Workers:
    """Return how many processes prepare rows, as training chooses them."""
    size = round(sum(one.sampled.feature_bytes for one in columns if not one.sampled.evaluated))
    cost = Cost(feeding_of(columns, 1).train_row_ms / 1000, size)
    if (declared := workers_of(config.training)) is not None:
        return declared
    chosen = choose_workers(cost, work.batch, device, work.samples)
    return replace(chosen, count=-(-chosen.count // work.processes))  # of the same processors


def _side_by_side(workers: Workers, count: int) -> int:
    """Return how many processes prepare rows on the processors that so many training processes share."""
    of_one = max(1, workers.count)
    return min(of_one * count, max(of_one, processors()))


def _left_open(work: Work) -> Iterator[str]:
    """Yield a sentence about each thing that can't be counted."""
    if work.inputs_per_evaluation is None:
        yield "evaluators: what one of your own encodes can't be counted."
    if None in work.rows.values():
        yield "data: a stream has no length; max_steps counts its steps."


def _prepared_bytes(config: Config, columns: Sequence[PlannedColumn]) -> int:
    """Return what the cache takes of images that are prepared: 3 bytes a pixel that the model sees."""
    wanted = {name for name, section in config.datasets.items() if section.prepare}
    seen = [(one.sampled.pixels_seen, one.inputs) for one in columns if one.sampled.dataset in wanted]
    return round(sum(3 * pixels["median"] * (count or 0) for pixels, count in seen if pixels))


def _look_at_columns(job: PlannedJob, looks: Looks, terminal: Terminal) -> list[PlannedColumn]:
    """Return all columns, sampled, with what their inputs take of the model; each kind of input once."""
    asked = input_columns(job)
    config = job.config
    sampled_by = config.model.model_dump_json(include={"name_or_path", "revision", "processor", "routes"})
    sampled_by += config.media.model_dump_json()
    passed_by = config.model.model_dump_json(exclude={"processor"}) + str(
        [config.training.get(name) for name in ("bf16", "fp16", "gradient_checkpointing", "activation_checkpointing")]
    )
    found: list[PlannedColumn] = []
    with terminal.progress("looking at rows", len(asked), unit="columns") as progress:
        for column, inputs in asked:
            place = (column.rows.key, column.column.name, column.evaluated)
            if (sampled := looks.samples.get((sampled_by, place))) is None:
                sampled = sample_column(job.model, column, looks.rows, config.seed)
                looks.samples[sampled_by, place] = sampled
            kind = (passed_by, sampled.modality, "query" if column.column.role is Role.anchor else "document")
            if kind not in looks.costs:
                looks.costs[kind] = _cost_of(job, column, sampled, looks)
            found.append(PlannedColumn(sampled, inputs, looks.costs[kind]))
            progress.advance()
    return found


def _to_be_mined(job: PlannedJob, found: Sequence[PlannedColumn]) -> list[PlannedColumn]:
    """Return the columns of negatives that are yet to be mined: documents as the positives are."""
    added: list[PlannedColumn] = []
    for name, section in training_datasets(job.config).items():
        if any(column.is_mined for column in job.loss_rows[name].columns):
            continue
        positive = next(
            (one for one in found if one.sampled.dataset == name and one.sampled.role == str(Role.positive)), None
        )
        if positive is not None:
            taken = [column.name for column in job.loss_rows[name].columns]
            added += [
                replace(positive, sampled=replace(positive.sampled, column=column, role=str(Role.negative)))
                for column in negative_names(taken, len(mined_columns(section)))
            ]
    return added


def _cost_of(job: PlannedJob, column: InputColumn, sampled: SampledColumn, looks: Looks) -> PassCost | None:
    """Return what a few of the largest inputs of a column take of the model; None where that can't be counted."""
    wanted = mini_batches_of(job.config).rows_of(sampled, job.args.train_batch_size)
    inputs = read_inputs(column, sampled.widest[: min(wanted, PASSED)])
    features = dict(column.prepare(inputs))
    if job.raw is not None:
        job.raw.restore(features)
    try:
        return count_pass(job.model, features, len(inputs), job.precision.autocast)
    except Exception as error:  # a model whose shapes depend on what it computes
        encoder = type(getattr(job.model[0], "model", job.model[0])).__name__
        looks.unknown[
            f"model: {encoder} can't be run without weights on {sampled.modality}, so that its activations and"
            f" operations are unknown: {first_line(error)}"
        ] = None
        return None
