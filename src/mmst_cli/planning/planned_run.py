"""What a run was found to consist of, and what it takes on a device that is known by its data sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmst_cli.model.device_memory import MARGIN
from mmst_cli.planning.counted_work import Work
from mmst_cli.planning.devices import TAKEN, Device
from mmst_cli.planning.planned_memory import Memory, Weights, checkpoint_bytes, similarity_bytes
from mmst_cli.planning.planned_time import WRITING, Feeding, Span, Time, rates_of
from mmst_cli.planning.sampled_columns import SampledColumn
from mmst_cli.planning.weightless_pass import PassCost

STARTING = Span(30, 120)
"""Seconds to import, load and check before the first step, assumed of a machine that isn't here."""
FINISHING = Span(20, 90)
"""Seconds to save, compare in a fresh process and report, likewise."""


@dataclass(frozen=True)
class MiniBatches:
    """How many rows go through the model at a time."""

    cached: bool
    """Whether the loss goes through the model twice, so that one mini-batch at a time is kept."""
    rows: int | None
    """Rows of a mini-batch; None where tokens bound it, or where it is what fits."""
    tokens: int | None = None
    """Tokens of a mini-batch at most."""
    key: str | None = None
    """The dotted key that says it."""
    fits: bool = False
    """Whether it is as many as the device has room for."""

    def rows_of(self, column: SampledColumn, batch: int) -> int:
        """Return how many rows of a column, with as many tokens as its largest, are a mini-batch."""
        if self.tokens is not None and column.tokens:
            return max(1, min(batch, int(self.tokens // column.tokens["max"])))
        return min(batch, self.rows or batch)


@dataclass(frozen=True)
class PlannedColumn:
    """A sampled column, and what inputs of its kind take of the model."""

    sampled: SampledColumn
    inputs: int | None
    """Of an epoch, or of an evaluation; None of a stream."""
    cost: PassCost | None
    """Of a few of its largest inputs; None where the model can't be run without its weights."""

    def cost_of(self, rows: int, *, mean: bool) -> PassCost | None:
        """Return the cost of so many inputs: as its mean ones, or as its largest."""
        if self.cost is None:
            return None
        tokens, largest = self.sampled.mean_tokens, self.sampled.tokens
        if not self.cost.tokens or not tokens or not largest:
            return self.cost.scaled(rows)
        of_one = tokens if mean else largest["max"]
        return self.cost.scaled(rows, rows * of_one)


@dataclass(frozen=True)
class Facts:
    """Everything that a plan is computed from."""

    work: Work
    weights: Weights
    columns: tuple[PlannedColumn, ...]
    mini_batches: MiniBatches
    feeding: Feeding
    dims: int
    """Sizes of vectors that the loss is computed at."""
    evaluation_batch: int
    half: bool
    """Whether matrices are multiplied in half precision."""
    only_model: bool
    """Whether checkpoints leave the optimizer's state out."""
    adapter: bool
    prepared_bytes: int
    """Of the images that the cache takes, where datasets say `prepare`."""
    batches_ahead: int
    """Batches that are prepared or wait, on the host, of each process."""
    copies: float
    """Bytes of copies an optimizer that isn't fused makes as it steps."""

    def of(self, *, evaluated: bool) -> list[PlannedColumn]:
        """Return the columns that the loss, or that evaluators read."""
        return [column for column in self.columns if column.sampled.evaluated is evaluated]


def host_bytes(facts: Facts) -> int:
    """Return the bytes of the batches that are on the host at a time, of all processes: batches x rows x features."""
    sets: dict[str, float] = {}
    for column in facts.of(evaluated=False):
        sets[column.sampled.dataset] = sets.get(column.sampled.dataset, 0.0) + column.sampled.feature_bytes
    batches = facts.batches_ahead * facts.work.processes
    return round(batches * facts.work.batch * max(sets.values(), default=0.0))


def with_fitting_size(facts: Facts, device: Device) -> Facts:
    """Return facts whose mini-batch is the largest that a device has room for, where the config leaves it to that.

    rows = (memory x 0.9 - what is held - gradients) / bytes a row of the column that takes the most.
    """
    if not facts.mini_batches.fits:
        return facts
    room = device.memory * (1 - MARGIN) - TAKEN - facts.weights.bytes
    room -= facts.weights.state_bytes + gradient_bytes(facts)
    costs = [cost for column in facts.of(evaluated=False) if (cost := column.cost_of(1, mean=False))]
    a_row = max((cost.peak for cost in costs), default=0)
    rows = facts.work.batch if not a_row else max(1, min(facts.work.batch, int(room // a_row)))
    return replace(facts, mini_batches=replace(facts.mini_batches, rows=rows))


def plan_memory(facts: Facts, library: float = TAKEN) -> Memory | None:
    """Return the bytes that a run takes of a device; None where the model's share isn't known.

    Of several sets it is the one that takes the most: a batch is of one.
    """
    if any(column.cost is None for column in facts.columns):
        return None
    sets: dict[str, list[PlannedColumn]] = {}
    for column in facts.of(evaluated=False):
        sets.setdefault(column.sampled.dataset, []).append(column)
    evaluated = facts.of(evaluated=True)
    evaluating = [_known(one.cost_of(facts.evaluation_batch, mean=False)).forward_peak for one in evaluated]
    return Memory(
        weights=facts.weights.bytes,
        gradients=gradient_bytes(facts),
        optimizer=facts.weights.state_bytes,
        activations=max((_activations(facts, columns) for columns in sets.values()), default=0),
        inputs=round(max((_input_bytes(facts, column) for column in facts.of(evaluated=False)), default=0)),
        evaluation=max(evaluating, default=0),
        step=round(facts.copies),
        library=round(library),
    )


def gradient_bytes(facts: Facts) -> int:
    """Return the bytes of the gradients; of several processes they are held once more, to be exchanged."""
    return facts.weights.trained_bytes * (2 if facts.work.processes > 1 else 1)


def _activations(facts: Facts, columns: Sequence[PlannedColumn]) -> int:
    """Return what a batch of a set takes, and its similarities.

    Cached losses keep one mini-batch, of the column that takes the most; others those of all columns.
    """
    batch = facts.work.batch
    costs = [_known(one.cost_of(facts.mini_batches.rows_of(one.sampled, batch), mean=False)) for one in columns]
    documents = batch * facts.work.gathered * max(1, len(columns) - 1)
    similar = similarity_bytes(batch, documents, facts.dims)
    if facts.mini_batches.cached:
        return similar + max(cost.peak for cost in costs)
    return similar + sum(cost.kept for cost in costs) + max(cost.peak - cost.kept for cost in costs)


def _input_bytes(facts: Facts, column: PlannedColumn) -> float:
    return facts.mini_batches.rows_of(column.sampled, facts.work.batch) * column.sampled.feature_bytes


def plan_time(facts: Facts, device: Device) -> Time | None:
    """Return the seconds that a run takes on a device; None where the model's share isn't known.

    computing = steps x batches x max(operations / (peak x utilisation), operations launched x time to launch one);
    operations = forward and backward, and of cached losses forward once more;
    feeding = rows x milliseconds a row / processes.
    """
    if any(column.cost is None for column in facts.columns):
        return None
    rates, work = rates_of(device.half if facts.half else device.full), facts.work
    batches = work.steps * work.accumulated
    computing = Span(0, 0)
    for column in facts.of(evaluated=False):
        rows = facts.mini_batches.rows_of(column.sampled, work.batch)
        cost = _known(column.cost_of(work.batch, mean=True))
        passes = -(-work.batch // rows)
        again = facts.mini_batches.cached
        computing += rates.seconds(
            cost.flops + again * cost.forward_flops, passes * (cost.kernels + again * cost.forward_kernels)
        ).times(batches * _share(facts, column))
    evaluating, feeding_evaluations = Span(0, 0), 0.0
    for column in facts.of(evaluated=True):
        count = -(-(column.inputs or 0) // work.processes)  # inputs are shared out
        cost = _known(column.cost_of(max(1, count), mean=True))
        passes = -(-count // max(1, facts.evaluation_batch))
        evaluating += rates.seconds(cost.forward_flops, passes * cost.forward_kernels).times(work.evaluations)
        prepared = work.evaluations * (column.inputs or 0)
        feeding_evaluations += prepared * _prepare_ms(column) / 1000 / facts.feeding.processes
    saved = checkpoint_bytes(facts.weights, only_model=facts.only_model, adapter=facts.adapter)
    return Time(
        start=STARTING,
        computing=computing,
        feeding=work.samples * facts.feeding.train_row_ms / 1000 / facts.feeding.processes,
        evaluating=evaluating,
        feeding_evaluations=feeding_evaluations,
        saving=work.saves * saved / WRITING,
        finish=FINISHING,
    )


def step_flops(facts: Facts) -> float | None:
    """Return the operations of a step; None where the model's share isn't known."""
    if any(column.cost is None for column in facts.of(evaluated=False)):
        return None
    total = 0.0
    for column in facts.of(evaluated=False):
        cost = _known(column.cost_of(facts.work.batch, mean=True))
        total += (cost.flops + facts.mini_batches.cached * cost.forward_flops) * _share(facts, column)
    return total * facts.work.accumulated


def plan_disk(facts: Facts) -> dict[str, int]:
    """Return the bytes of what a run leaves on the disk: checkpoints at a time, the model, the cache."""
    saved = checkpoint_bytes(facts.weights, only_model=facts.only_model, adapter=facts.adapter)
    return {
        "checkpoint": saved,
        "checkpoints": facts.work.kept_checkpoints * saved,
        "model": facts.weights.bytes,
        "prepared_images": facts.prepared_bytes,
    }


def feeding_of(columns: Iterable[PlannedColumn], processes: int) -> Feeding:
    """Return what preparing rows takes: of training sets in the mean by their rows, of evaluated inputs by theirs."""
    columns = list(columns)
    trained = [column for column in columns if not column.sampled.evaluated]
    evaluated = [column for column in columns if column.sampled.evaluated]
    sets: dict[str, tuple[float, float]] = {}
    for column in trained:
        milliseconds, _ = sets.get(column.sampled.dataset, (0.0, 0.0))
        sets[column.sampled.dataset] = milliseconds + _prepare_ms(column), float(column.inputs or 1)
    weight = sum(count for _, count in sets.values())
    inputs = sum(column.inputs or 0 for column in evaluated)
    return Feeding(
        train_row_ms=sum(milliseconds * count for milliseconds, count in sets.values()) / weight if weight else 0.0,
        evaluated_input_ms=sum(_prepare_ms(one) * (one.inputs or 0) for one in evaluated) / inputs if inputs else 0.0,
        processes=max(1, processes),
    )


def _share(facts: Facts, column: PlannedColumn) -> float:
    """Return which share of the batches is of a column's set."""
    counts = {name: float(count or 1) for name, count in facts.work.rows.items()}
    return counts.get(column.sampled.dataset, 0.0) / (sum(counts.values()) or 1.0)


def _prepare_ms(column: PlannedColumn) -> float:
    return column.sampled.read_ms + column.sampled.process_ms


def _known(cost: Any) -> PassCost:
    assert isinstance(cost, PassCost)
    return cost
