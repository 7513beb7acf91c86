"""`mmst train`: build and check everything a config declares, then train, measure and save."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import torch

from mmst_cli import ending_together, processes
from mmst_cli.config.automatic_sizes import with_recorded_sizes
from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.evaluation.evaluator_suite import PreparedEvaluation, prepare_evaluation
from mmst_cli.mining.training_sets import check_minings
from mmst_cli.model.adapter import add_adapter, check_adaptable
from mmst_cli.model.precision_of_run import with_environment
from mmst_cli.output_claim import check_writable, claimed
from mmst_cli.preparing.broken_rows import told_of_skipping
from mmst_cli.preparing.image_preparation import prepare_images
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.runs import RunFolder
from mmst_cli.storage import expand_home
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.training.failed_run import told_of_failures
from mmst_cli.training.hub_upload import check_pushing, push_model
from mmst_cli.training.loss_models import check_models_of_losses
from mmst_cli.training.mixing import loss_rows
from mmst_cli.training.one_device import idle_devices
from mmst_cli.training.resume_rules import check_same_rows, check_steps
from mmst_cli.training.tracking import check_trackers
from mmst_cli.training.training_course import TrainingCourse
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.training.training_start import build_arguments, check_machine, find_start, take_up
from mmst_cli.training.training_summary import TrainingResult


def run_training(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    terminal: Terminal | None = None,
) -> TrainingResult:
    """Train as a config says; in each of several processes, where a launcher started them.

    Args:
        config: the whole config.
        overrides: the KEY=VALUE arguments it was loaded with, for the record.
        resume: go on from the last whole checkpoint of the run folder.
        overwrite: replace the run that is in the folder.
        dry_run: build and check everything, take one step of the training loop, write nothing.
        terminal: where to show progress; stderr if left out.

    Raises:
        MmstError: a mistake in config, data or model, before anything was written.
        WorkError: training failed on the way.
    """
    terminal = terminal or Terminal()
    config = with_environment(config, terminal)
    for warning in check_config(config):
        terminal.warn(warning)
    run = RunFolder(expand_home(config.output_dir))
    if resume:
        config = with_recorded_sizes(config, run.config)
    if dry_run:
        check_writable(run.path, "output_dir")
    with told_of_skipping(config), nullcontext() if dry_run else claimed(run.path, "output_dir"):
        return _run(config, run, overrides, terminal, resume=resume, overwrite=overwrite, dry_run=dry_run)


def _run(
    config: Config,
    run: RunFolder,
    overrides: Sequence[str],
    terminal: Terminal,
    *,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
) -> TrainingResult:
    quiet_libraries(terminal)
    ending_together.watch()  # before the libraries look for the other processes, and wait for hours
    # What the arguments and this machine refuse is reported before anything is loaded.
    runtime = check_machine(config)
    if idle := idle_devices(runtime.device):
        terminal.warn(idle)
    check_models_of_losses(config, runtime)
    check_adaptable(config.model)
    check_minings(config)
    check_trackers(config, build_arguments(config, run.path))
    check_pushing(config, terminal)
    with processes.first_before_others():  # it may put an earlier run back
        checkpoint = find_start(run, config, terminal, resume=resume, overwrite=overwrite, dry_run=dry_run)
    bad_rows = BadRows.of(config.datasets, terminal)
    if checkpoint is not None:
        bad_rows.read_back(run.skipped_rows)
    with processes.first_before_others():  # it fills the caches for all, and some are only filled by the first
        prepared = prepare_evaluation(config, terminal, list(config.datasets), bad_rows, partial(loss_rows, config))
        if not dry_run:
            prepare_images(config, prepared.rows, prepared.model, terminal)
    if config.model.adapter is not None:
        terminal.say(f"adapter: {add_adapter(prepared.model, config.model, config.seed)}")
    job = TrainingJob(config, run, prepared, terminal)
    with processes.first_before_others():
        job.mine()  # before the folder is touched: what is wrong with it leaves no run behind
    job.rehearse()
    config = job.config  # with what it left to be found
    job.announce()
    if dry_run:
        result = job.try_one_batch()
        ending_together.leave()
        return result
    rows = job.name_rows() if processes.is_first() else {}
    if checkpoint is not None:
        check_steps(config, job.steps, checkpoint)
        for name in check_same_rows(run.recorded_rows(), rows, training_datasets(config)):
            terminal.warn(
                f"datasets.{name}: it has other rows than when the run was begun: figures of before are not of these."
            )
    with told_of_failures(run, terminal):
        with processes.first_before_others():
            if processes.is_first():
                if overwrite and run.set_aside():
                    terminal.say(f"the run that is in {run.path} is kept until this one has a checkpoint, or is done.")
                if checkpoint is None:
                    run.write_record(config_to_yaml(config), overrides, _devices(prepared), rows)
                else:
                    take_up(run, checkpoint, terminal)
                    run.write_settings(config_to_yaml(config), overrides, rows)
                terminal.log_to(run.log)
                prepared.bad_rows.list_in(run.skipped_rows)
        result = TrainingCourse(job).follow(checkpoint)
    ending_together.leave()
    if config.training.get("push_to_hub") and processes.is_first():
        push_model(config, run, terminal)
    return result


def _devices(prepared: PreparedEvaluation) -> list[str]:
    if not torch.cuda.is_available() or prepared.model.device.type == "cpu":
        count = torch.get_num_threads()
        return [f"cpu, {count} {'thread' if count == 1 else 'threads'}"]
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
