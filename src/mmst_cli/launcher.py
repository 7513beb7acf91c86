"""Several processes of one command on this machine, started as torchrun starts them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from mmst_cli import processes
from mmst_cli.errors import ConfigError, WorkError


def launch(count: int, arguments: Sequence[str], *, on_cpu: bool) -> None:
    """Run ``mmst`` with the same arguments in ``count`` processes, one a GPU, and wait until all have ended.

    Args:
        count: how many.
        arguments: the command line after ``mmst``.
        on_cpu: whether they compute on the CPU, where any number goes.

    Raises:
        ConfigError: there are fewer GPUs, or a launcher started this process itself.
        WorkError: a process was ended from outside, without a word.
        SystemExit: a process failed and said why; the exit code is its own.
    """
    _check(count, on_cpu)
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Its own account of a failure is a table and a traceback, after the sentence that says why.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # Ctrl-C reaches every process by itself; the launcher would end them while they save a checkpoint.
    signal.signal(signal.SIGINT, lambda *_: None)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    started = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # any port that is free
        max_restarts=0,
        monitor_interval=0.1,
    )
    started.signals_to_handle = "SIGTERM"
    try:
        elastic_launch(started, sys.executable)("-m", "mmst_cli", *arguments)
    except ChildFailedError as error:
        failed, first = error.get_first_failure()
        if first.exitcode < 0:
            raise WorkError(_lost(failed, -first.exitcode)) from error
        raise SystemExit(first.exitcode) from error
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from error


def _check(count: int, on_cpu: bool) -> None:
    if processes.count() > 1:
        raise ConfigError(
            f"--num-processes: a launcher has started {processes.count()} processes already. Leave it out, or start"
            " `mmst train` without the launcher."
        )
    if count < 1:
        raise ConfigError(f"--num-processes: {count}; it takes 1 or more.")
    if on_cpu:
        return
    import torch

    found = torch.cuda.device_count()
    if count > found:
        there = "there is none" if not found else f"there {'is' if found == 1 else 'are'} {found}"
        raise ConfigError(
            f"--num-processes: {count}, but each process takes a GPU and {there} here."
            f" {f'Write {found}, or add' if found else 'Add'} training.use_cpu=true to compute on the CPU."
        )


def _lost(failed: int, signal_number: int) -> str:
    return (
        f"process {failed} of the run was ended from outside by signal {signal_number}, and the others with it."
        f"{' The system does that when memory runs out.' if signal_number == 9 else ''}"
        " `mmst train CONFIG --resume` goes on from the last whole checkpoint, if there is one."
    )
