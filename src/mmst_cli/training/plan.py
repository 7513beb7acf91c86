"""`mmst plan`: what a run will cost, measured on a sample of its rows, its architecture and this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from accelerate.utils.memory import clear_device_cache

from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.errors import ModelError
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.model.adapter import add_adapter, check_adaptable
from mmst_cli.model.precision_of_run import with_environment
from mmst_cli.model.preprocessor import without_weights
from mmst_cli.model.weights_here import missing_weights
from mmst_cli.planning.advice import advise
from mmst_cli.planning.devices import DEVICES, Device
from mmst_cli.planning.plan_result import Plan
from mmst_cli.planning.planned_run import plan_disk, plan_memory, plan_time, with_fitting_size
from mmst_cli.preparing.broken_rows import told_of_skipping
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.runs import RunFolder
from mmst_cli.storage import expand_home
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.training.loss_models import check_models_of_losses
from mmst_cli.training.measured_plan import MeasuredPlan
from mmst_cli.training.measured_run import measure
from mmst_cli.training.not_counted import not_counted
from mmst_cli.training.one_device import idle_devices
from mmst_cli.training.planned_facts import Looks, find_facts
from mmst_cli.training.planned_job import PlannedJob, batching_of, changed_job, check_plannable, job_without_weights
from mmst_cli.training.probed_sizes import check_probe, probe_sizes
from mmst_cli.training.rows_left_over import keys_apart, tell_rows_left_over
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.training.training_start import build_arguments, check_machine

GPU = torch.device("cuda")
"""What kind of device those are that have a name."""


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
    processes: int = 1
    """That train together, each on such a device."""
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
    with told_of_skipping(config):
        plan = _plan_here if options.device is None else _plan_there
        return plan(config, options, terminal)


def _plan_there(config: Config, options: PlanOptions, terminal: Terminal) -> Plan:
    """Plan for a device that isn't here."""
    job = job_without_weights(config, terminal, options.processes)
    check_plannable(job.rows)
    _warn_of_rows_left_over(job, terminal)
    looks = Looks(options.rows)
    plan = _plan_elsewhere(job, options, looks, terminal)
    advice = advise(
        config,
        plan,
        lambda other: _plan_elsewhere(changed_job(job, other, GPU), options, looks.fewer(), terminal),
        on_gpu=True,
    )
    return replace(
        plan,
        advice=advice,
        unknown=[*looks.unknown],
        assumed=[*looks.assumed],
        not_counted=not_counted(config, options.processes, measured=False),
    )


def _warn_of_rows_left_over(job: PlannedJob, terminal: Terminal) -> None:
    """Warn, as training does, of rows that no batch without duplicates has."""
    training = {name: job.loss_rows[name] for name in training_datasets(job.config)}
    with terminal.waiting("telling rows apart"):
        keys = keys_apart(job.config, training)
    for warning in tell_rows_left_over(job.config, training, keys, job.args, job.processes):
        terminal.warn(warning)


def _plan_elsewhere(job: PlannedJob, options: PlanOptions, looks: Looks, terminal: Terminal) -> Plan:
    """Plan for a device that is known by its data sheet."""
    assert options.device is not None
    device = options.device
    facts = with_fitting_size(find_facts(job, looks, terminal, None, GPU), device)
    return Plan(
        config=options.config,
        device=device.label,
        facts=facts,
        memory=plan_memory(facts),
        room=device.memory,
        time=plan_time(facts, device),
        disk=plan_disk(facts),
        cost=options.cost,
    )


def _plan_here(config: Config, options: PlanOptions, terminal: Terminal) -> Plan:
    """Plan by trying it on this machine."""
    training = _job_here(config, options, terminal)
    weightless = without_weights(training.model)
    for parameter, real in zip(weightless.parameters(), training.model.parameters(), strict=True):
        parameter.requires_grad_(real.requires_grad)
    measured = measure(training, terminal, options.import_seconds)
    probed = probe_sizes(training, terminal) if options.probe else []
    clear_device_cache(garbage_collection=True)
    args = build_arguments(training.config, training.run.path)
    job = PlannedJob(
        training.config,
        weightless,
        training.rows,
        training.loss_rows,
        args,
        *batching_of(training.config, weightless, training.loss_rows, args),
        training.suite.evaluators,
        training.precision,
    )
    looks, device = Looks(options.rows), training.model.device
    tried = find_facts(job, looks, terminal, training.steps, device, with_mined=False)
    made = MeasuredPlan(options.config, device, measured, tried, options.cost)
    plan = made.plan(find_facts(job, looks, terminal, training.steps, device), peak=measured.peak_bytes)
    again = partial(_again, made, job, looks, terminal)
    advice = advise(training.config, plan, again, on_gpu=device.type == "cuda")
    return replace(
        plan,
        advice=advice,
        unknown=[*looks.unknown],
        assumed=[*looks.assumed],
        not_counted=not_counted(training.config, 1, measured=True),
        probed=probed,
    )


def _job_here(config: Config, options: PlanOptions, terminal: Terminal) -> TrainingJob:
    """Return what training makes of a config, rehearsed.

    Raises:
        ModelError: the weights aren't here.
    """
    if missing := missing_weights(config.model):
        raise ModelError(
            f"model: the weights of {', '.join(missing)} aren't on this machine, so that nothing can be measured with"
            f" them. Name a device to plan without them, --device {' or '.join(DEVICES)}, or"
            + (" put them there." if expand_home(missing[0]).is_dir() else f" download them: hf download {missing[0]}")
        )
    runtime = check_machine(config)
    if idle := idle_devices(runtime.device):
        terminal.warn(idle)
    check_models_of_losses(config, runtime)
    if options.probe:
        check_probe(config, runtime.device)
    prepared = prepare_evaluation(config, terminal, list(config.datasets), BadRows.of(config.datasets, terminal))
    check_plannable(prepared.rows)
    if config.model.adapter is not None:
        add_adapter(prepared.model, config.model, config.seed)
    job = TrainingJob(config, RunFolder(expand_home(config.output_dir)), prepared, terminal)
    job.rehearse()
    return job


def _again(made: MeasuredPlan, job: PlannedJob, looks: Looks, terminal: Terminal, other: Config) -> Plan:
    """Plan for a changed config by what was measured with the one that was given."""
    device = made.kind
    return made.plan(find_facts(changed_job(job, other, device), looks.fewer(), terminal, None, device))
