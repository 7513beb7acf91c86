"""`mmst plan`: what a run will cost, measured on a sample of its rows, its architecture and this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from accelerate.utils.memory import clear_device_cache

from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.rules_mining import mined_columns
from mmst_cli.config.schema import Config, Role
from mmst_cli.errors import first_line
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.model.adapter import add_adapter, check_adaptable
from mmst_cli.model.precision import HALF, declared_precision
from mmst_cli.model.precision_of_run import with_environment
from mmst_cli.model.preprocessor import without_weights
from mmst_cli.planning.counted_work import count_work
from mmst_cli.planning.devices import Device
from mmst_cli.planning.measured_time import time_of
from mmst_cli.planning.plan_result import Plan
from mmst_cli.planning.planned_memory import checkpoint_bytes, count_weights
from mmst_cli.planning.planned_run import (
    Facts,
    PlannedColumn,
    feeding_of,
    plan_disk,
    plan_memory,
    plan_time,
    with_fitting_size,
)
from mmst_cli.planning.sampled_columns import InputColumn, SampledColumn, read_inputs, sample_column
from mmst_cli.planning.weightless_pass import PassCost, count_pass
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.runs import RunFolder
from mmst_cli.storage import expand_home
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.training.loss_models import check_models_of_losses
from mmst_cli.training.measured_run import measure
from mmst_cli.training.planned_job import (
    PlannedJob,
    bytes_of_state,
    check_plannable,
    dims_of,
    evaluation_batch,
    input_columns,
    inputs_per_evaluation,
    job_without_weights,
    mini_batches_of,
)
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.training.training_start import build_arguments, check_machine
from mmst_cli.vectors.data_workers import Cost, choose_workers, workers_of

PASSED = 4  # inputs of a column that go through the model without weights


@dataclass(frozen=True)
class PlanOptions:
    """What `mmst plan` is asked for, besides the config."""

    config: str = ""
    """What the plan calls the config."""
    device: Device | None = None
    """None measures this machine."""
    cost: float | None = None
    """Of an hour."""
    probe: bool = False
    rows: int = 32
    """Of each column, to look at."""
    import_seconds: float = 0.0
    """That loading the libraries took."""


def run_plan(config: Config, options: PlanOptions, terminal: Terminal | None = None) -> Plan:
    """Say what a run takes before it starts. Nothing is written.

    Raises:
        MmstError: what training would stop at, or what can't be planned.
    """
    terminal = terminal or Terminal()
    if options.device is None:
        config = with_environment(config, terminal)
    for warning in check_config(config):
        terminal.warn(warning)
    quiet_libraries(terminal)
    check_adaptable(config.model)
    if options.device is None:
        return _plan_here(config, options, terminal)
    job = job_without_weights(config, terminal)
    check_plannable(job.rows)
    return plan_elsewhere(job, options, terminal)


def plan_elsewhere(job: PlannedJob, options: PlanOptions, terminal: Terminal) -> Plan:
    """Plan for a device that is known by its data sheet."""
    assert options.device is not None
    device = options.device
    facts, unknown, assumed = find_facts(job, options, terminal, None)
    facts = with_fitting_size(facts, device)
    time = plan_time(facts, device)
    return Plan(
        config=options.config,
        device=device.label,
        facts=facts,
        memory=plan_memory(facts),
        room=device.memory,
        time=time,
        disk=plan_disk(facts),
        cost=options.cost,
        unknown=unknown,
        assumed=assumed,
    )


def _plan_here(config: Config, options: PlanOptions, terminal: Terminal) -> Plan:
    """Plan by trying it on this machine."""
    runtime = check_machine(config)
    check_models_of_losses(config, runtime)
    prepared = prepare_evaluation(config, terminal, list(config.datasets), BadRows.of(config.datasets, terminal))
    check_plannable(prepared.rows)
    if config.model.adapter is not None:
        add_adapter(prepared.model, config.model, config.seed)
    training = TrainingJob(config, RunFolder(expand_home(config.output_dir)), prepared, terminal)
    training.rehearse()
    weightless = without_weights(training.model)
    for parameter, real in zip(weightless.parameters(), training.model.parameters(), strict=True):
        parameter.requires_grad_(real.requires_grad)
    measured = measure(training, terminal, options.import_seconds)
    clear_device_cache(garbage_collection=True)
    job = PlannedJob(
        training.config,
        weightless,
        training.rows,
        training.loss_rows,
        build_arguments(training.config, training.run.path),
        *training.batching(weightless),
        training.suite.evaluators,
        training.precision,
    )
    facts, unknown, assumed = find_facts(job, options, terminal, training.steps)
    saved = checkpoint_bytes(facts.weights, only_model=facts.only_model, adapter=facts.adapter)
    time = time_of(
        start=measured.start_seconds,
        imports=measured.import_seconds,
        step=measured.step_seconds,
        waiting_share=measured.waiting_share,
        steps=facts.work.steps,
        evaluation=measured.evaluation_seconds,
        evaluations=facts.work.evaluations,
        saves=facts.work.saves,
        saved_bytes=saved,
    )
    return Plan(
        config=options.config,
        device=f"this machine ({measured.device})",
        facts=facts,
        memory=plan_memory(facts, 0.0),
        room=_room_here(runtime.device),
        time=time,
        disk=plan_disk(facts),
        measured=measured.to_dict(),
        peak=measured.peak_bytes,
        cost=options.cost,
        unknown=unknown,
        assumed=assumed,
    )


def _room_here(device: torch.device) -> float | None:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    import psutil

    return float(psutil.virtual_memory().total) if device.type == "cpu" else None


def find_facts(
    job: PlannedJob, options: PlanOptions, terminal: Terminal, steps: int | None
) -> tuple[Facts, list[str], list[str]]:
    """Return everything that a plan is computed from, what can't be known, and what was assumed.

    Args:
        job: what to look at.
        options: what is asked for.
        terminal: where to show progress.
        steps: how many the run takes, where the trainer counted them.
    """
    config, unknown, assumed = job.config, [], []
    columns = _look_at_columns(job, options, terminal, unknown)
    inputs = inputs_per_evaluation(job)
    if inputs is None:
        unknown.append("evaluators: what one of your own encodes can't be counted.")
    work = count_work(config, job.args, job.loss_rows, steps, inputs, evaluates=bool(job.evaluators))
    per_number, optimizer, tried = bytes_of_state(job.args, job.model)
    if not tried:
        assumed.append(f"the state of {optimizer}, which doesn't run on this machine, by its name")
    weights = count_weights(job.model, config.model, per_number, optimizer)
    if None in work.rows.values():
        unknown.append("data: a stream has no length; max_steps counts its steps.")
    cost = Cost(feeding_of(columns, 1).train_row_ms / 1000, round(sum(c.sampled.feature_bytes for c in columns)))
    declared = workers_of(config.training)
    where = torch.device("cuda") if options.device is not None else torch.device(job.args.device)
    workers = declared or choose_workers(cost, work.batch, where, work.samples)
    half = declared_precision(config.training).autocast is not None or job.model.dtype in HALF
    fused = "fused" in optimizer or "8bit" in optimizer
    facts = Facts(
        work=work,
        weights=weights,
        columns=tuple(columns),
        mini_batches=mini_batches_of(config),
        feeding=feeding_of(columns, workers.count),
        dims=dims_of(config),
        evaluation_batch=evaluation_batch(config),
        half=half,
        only_model=bool(config.training.get("save_only_model")),
        adapter=config.model.adapter is not None,
        prepared_bytes=_prepared_bytes(config, columns),
        copies=0.0 if fused else float(weights.trained_bytes),
    )
    return facts, unknown, assumed


def _prepared_bytes(config: Config, columns: Sequence[PlannedColumn]) -> int:
    """Return what the cache takes of images that are prepared: 3 bytes a pixel that the model sees."""
    wanted = {name for name, section in config.datasets.items() if section.prepare}
    seen = [(one.sampled.pixels_seen, one.inputs) for one in columns if one.sampled.dataset in wanted]
    return round(sum(3 * pixels["median"] * (count or 0) for pixels, count in seen if pixels))


def _look_at_columns(
    job: PlannedJob, options: PlanOptions, terminal: Terminal, unknown: list[str]
) -> list[PlannedColumn]:
    """Return all columns, sampled, with what their inputs take of the model; each kind of input once."""
    asked = input_columns(job)
    costs: dict[tuple[str, str], PassCost | None] = {}
    found: list[PlannedColumn] = []
    with terminal.progress("looking at rows", len(asked), unit="columns") as progress:
        for column, inputs in asked:
            sampled = sample_column(job.model, column, options.rows, job.config.seed)
            kind = (sampled.modality, "query" if column.column.role is Role.anchor else "document")
            if kind not in costs:
                costs[kind] = _cost_of(job, column, sampled, unknown)
            found.append(PlannedColumn(sampled, inputs, costs[kind]))
            progress.advance()
    return [*found, *_to_be_mined(job, found)]


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
            added += [
                replace(positive, sampled=replace(positive.sampled, column=f"mined_{number}", role=str(Role.negative)))
                for number, _ in enumerate(mined_columns(section))
            ]
    return added


def _cost_of(job: PlannedJob, column: InputColumn, sampled: SampledColumn, unknown: list[str]) -> PassCost | None:
    """Return what a few of the largest inputs of a column take of the model; None where that can't be counted."""
    inputs = read_inputs(column, sampled.widest[:PASSED])
    features = dict(column.prepare(inputs))
    if job.raw is not None:
        job.raw.restore(features)
    try:
        return count_pass(job.model, features, len(inputs), job.precision.autocast)
    except Exception as error:  # a model whose shapes depend on what it computes
        unknown.append(
            f"model: {type(job.model[0]).__name__} can't be run without weights on {sampled.modality}, so that its"
            f" activations and operations are unknown: {first_line(error)}"
        )
        return None
