"""`mmst plan --probe`: real batches in growing mini-batches, what each takes of the device and how fast it is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError
from mmst_cli.model import device_memory
from mmst_cli.model.device_memory import DeviceMemory, not_measured
from mmst_cli.terminal import Terminal
from mmst_cli.training.collator import NAME
from mmst_cli.training.host_batches import cached_part
from mmst_cli.training.large_rows import largest_rows
from mmst_cli.training.mini_batches import Trial
from mmst_cli.training.run_settings import mini_batches_of
from mmst_cli.training.training_job import TrainingJob


def check_probe(config: Config, device: torch.device) -> None:
    """Notice what there are no sizes to try of.

    Raises:
        ConfigError: a loss that takes no mini-batches, or a device whose memory isn't measured.
    """
    if not mini_batches_of(config).cached:
        raise ConfigError(
            "--probe: the loss takes no mini-batches, so that there are no sizes of them to try. Take a cached one,"
            " such as CachedMultipleNegativesRankingLoss."
        )
    if device_memory.memory_of(device) is None:
        raise ConfigError(f"--probe: {not_measured(device)}. It is for GPUs.")


def probe_sizes(job: TrainingJob, terminal: Terminal) -> list[Mapping[str, Any]]:
    """Return what mini-batches of 1, 2, 4, ... rows take, up to a batch or to the first for which there is no room.

    They are of the rows with the most tokens, tried as `mini_batch_size: auto` tries them.
    """
    memory = device_memory.memory_of(job.model.device)
    assert memory is not None, "see check_probe"
    with tempfile.TemporaryDirectory() as folder:
        trainer = job.build_trainer(Path(folder), [])
        trainer.create_optimizer()
        name = next(iter(training_datasets(job.config)))
        drawn, rows = next((drawn, rows) for drawn, rows in trainer.drawn if rows.key == name)
        trial = Trial(trainer, job.precision, memory, cached_part(trainer.loss_of({NAME: name})))
        return [*_tried(trial, memory, largest_rows(trainer, drawn, rows), terminal)]


def _tried(
    trial: Trial, memory: DeviceMemory, rows: list[dict[str, Any]], terminal: Terminal
) -> Iterator[Mapping[str, Any]]:
    size = 1
    while True:
        with terminal.waiting(f"trying mini-batches of {size}"):
            begun = time.perf_counter()
            peak = trial.peak(rows, trial.batch, size)
            seconds = time.perf_counter() - begun
        fits = peak is not None and peak <= trial.room
        yield {
            "rows": size,
            "peak_bytes": None if peak is None else peak + trial.later,
            "samples_per_second": trial.batch / seconds if peak is not None else None,
            "fits": fits,
            "device_bytes": memory.total,
        }
        if not fits or size >= trial.batch:
            return
        size = min(2 * size, trial.batch)
