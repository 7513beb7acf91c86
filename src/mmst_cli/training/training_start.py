"""What stands before training: arguments that are taken, rows for the losses, and where a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mmst_cli import processes
from mmst_cli.aside import FAILED
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.model.load_model import check_scalable
from mmst_cli.model.precision import Runtime, choose_runtime, declared_precision, default_device
from mmst_cli.model.precision_of_run import name_of
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.runs import RunFolder
from mmst_cli.storage import closed_to_us, expand_home
from mmst_cli.terminal import Terminal
from mmst_cli.training.argument_faults import told_by_key
from mmst_cli.training.hub_upload import without_pushing
from mmst_cli.training.mixing import loss_rows
from mmst_cli.training.resume_rules import changed_keys, check_resumable
from mmst_cli.whole_checkpoints import checkpoint_folders, checkpoint_step, damaged_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformerTrainingArguments

PATIENCE = 2 * 60 * 60
"""Seconds that a process waits for the others in an exchange, such as for the first one to compute metrics.

One that fails ends the others within seconds, by :mod:`mmst_cli.processes`; this is for what wasn't thought of."""


def build_arguments(config: Config, output_dir: Path) -> SentenceTransformerTrainingArguments:
    """Build SentenceTransformerTrainingArguments; nothing is written.

    Raises:
        ConfigError: the class refuses a value.
    """
    from mmst_cli.training.one_device import OneDeviceArguments

    # Losses are looked at a step at a time; the library would wait for the GPU at every batch.
    # The libraries change mappings inside of it, and several trainers are built of one config.
    given = {**deepcopy(without_pushing(config.training)), "logging_nan_inf_filter": False}
    if any(dataset.streaming for dataset in config.datasets.values()):
        # Accelerate would cut batches of a stream by the length of their first tensor, and images with them.
        given["accelerator_config"] = {"dispatch_batches": False, **(given.get("accelerator_config") or {})}
    if default_device(config.training).type == "cuda":  # a batch is copied while the one before is computed
        given["accelerator_config"] = {"non_blocking": True, **(given.get("accelerator_config") or {})}
    if processes.count() > 1:
        # Batches come in equal shares as they are, so that neither library has to pad or to drop any.
        given["accelerator_config"] = {**(given.get("accelerator_config") or {}), "even_batches": False}
        given["dataloader_drop_last"] = True
        given.setdefault("ddp_timeout", PATIENCE)
    else:
        given.pop("ddp_backend", None)  # the library would ask what there isn't
    with told_by_key(config.training):
        arguments = OneDeviceArguments(output_dir=str(output_dir), run_name=config.run_name, **given)
    if arguments.world_size != processes.count():
        raise ConfigError(
            f"training.use_cpu: {processes.count()} processes were started, but without a GPU each would train alone."
            " Write training.use_cpu=true to train on the CPU in all of them together, or start one."
        )
    arguments.mixed_precision = name_of(declared_precision(config.training))  # the environment would say otherwise
    arguments.dataloader_drop_last = bool(config.training.get("dataloader_drop_last"))
    return arguments


def check_trainable(config: Config, rows: Mapping[str, Rows]) -> None:
    """Check the trainer's arguments on this machine, and the columns as loaded against the losses.

    Raises:
        ConfigError: the arguments or the columns are refused.
        ModelError: the model isn't there.
    """
    check_machine(config)
    build_arguments(config, expand_home(config.output_dir))
    loss_rows(config, rows)


def check_machine(config: Config) -> Runtime:
    """Return where a config trains, and in which precision, seen to be possible with weights as it holds them.

    Raises:
        ConfigError: it isn't.
        ModelError: the model isn't there.
    """
    runtime = choose_runtime(config.training)
    if processes.count() > 1 and runtime.device.type == "cuda":
        there = torch.cuda.device_count()
        if (runtime.device.index or 0) >= there:
            raise ConfigError(
                f"training: a launcher started a process for GPU {runtime.device.index}, counted from 0, and {there}"
                f" {'is' if there == 1 else 'are'} here: each process takes one. Start {there} on this machine."
            )
    check_scalable(config.model, runtime)
    return runtime


def find_start(
    run: RunFolder, config: Config, terminal: Terminal, *, resume: bool, overwrite: bool, dry_run: bool
) -> Path | None:
    """Return the checkpoint to start from, or None to start anew. Nothing is written."""
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other.")
    if not dry_run and processes.is_first() and run.put_back():
        terminal.say(
            f"{run.path} holds the run again that --overwrite was to replace: the new one was stopped before its first"
            f" checkpoint. What it wrote is in {run.path / FAILED}."
        )
        if resume:
            raise RunError(
                f"--resume: the run that was to replace the one in {run.path} left no checkpoint to go on from. Begin"
                " it again by --overwrite, or repeat this command to go on with the one that is there again."
            )
    if overwrite:
        run.refuse_to_clear()
        return None
    if not resume:
        if not dry_run:
            run.refuse_if_taken()
        return None
    if not run.is_run():
        raise RunError(f"--resume: there is no run in {run.path}. Leave --resume out to start one.")
    if closed := next(filter(None, map(closed_to_us, checkpoint_folders(run.path))), None):
        raise RunError(f"--resume: {closed} can't be read: permission denied.")
    whole = run.checkpoints()
    damaged = ""
    while whole and (name := damaged_file(whole[-1])):
        damaged = f"{whole.pop() / name} is not what was saved: the checkpoint is damaged."
        terminal.warn(damaged)
    if not whole:
        why = f" {damaged}" if damaged else ""
        raise RunError(f"--resume: no whole checkpoint in {run.path}.{why} Start again by --overwrite.")
    if used := check_resumable(changed_keys(run.config, config), run.config, config, whole[-1]):
        terminal.warn(f"until now the run had other values of {', '.join(used)}; the new ones are used from here.")
    if config.training.get("ignore_data_skip"):
        terminal.warn(
            "training.ignore_data_skip: the epoch begins with its first rows again, so that the run ends with other"
            " weights than without the interruption."
        )
    return whole[-1]


def take_up(run: RunFolder, checkpoint: Path, terminal: Terminal) -> None:
    """Bring a run folder to the state of a checkpoint, dropping what a killed process left behind it."""
    for path in run.drop_broken_checkpoints(after=checkpoint_step(checkpoint)):
        terminal.warn(f"{path.name} was damaged or only half written, and was removed.")
    run.forget_metrics_after(checkpoint_step(checkpoint))
    run.forget_rounds_after(checkpoint_step(checkpoint))
    run.dead_batch.unlink(missing_ok=True)
    begun = run.recorded_processes()
    if begun not in (None, processes.count()):
        terminal.warn(
            f"the run was begun with {begun} process{'' if begun == 1 else 'es'} and goes on with {processes.count()}:"
            " a step takes other rows, and it ends with other weights than without the interruption."
        )
    terminal.say(f"resuming from {checkpoint}")
