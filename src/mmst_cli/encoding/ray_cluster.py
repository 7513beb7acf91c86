"""Ray itself: a cluster joined or one begun on this machine, what it has for a job, and its failures in sentences."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli import processes
from mmst_cli.errors import ConfigError, WorkError, first_line, is_memory_shortage

ADDRESS = "RAY_ADDRESS"
RETRIES = 3  # of a block whose worker died, before it is taken to be what kills them
RESTARTS = 20  # of an actor, whose node may be taken from it many times; none gets on with a model that kills it
_WHOLE = "Parts that are whole stay, and --resume goes on behind them."
_LESS = f"Lower --batch-size or --workers, or have more of it. {_WHOLE}"
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would report to its makers
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # or its C++ would write onto the terminal
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # or it would print on stdout which workers died; its own logs have it all
    "RAY_worker_niceness": "0",  # workers on this machine go before others as the command itself does
}
_OWN = "local"  # what Ray calls a cluster that it begins on this machine


@dataclass(frozen=True)
class Shares:
    """What of a cluster a job takes."""

    actors: int
    """Each with a model."""
    on_gpu: bool
    """Whether each of them has a GPU."""
    cpus: int
    """That each of them takes, where it has no GPU."""
    nodes: int
    """Of the cluster."""
    here: bool
    """Whether models run on the CPU of this machine alone, under a Ray that was begun for the job."""

    def in_words(self) -> str:
        """Return a sentence about them."""
        on = "a GPU" if self.on_gpu else _count(self.cpus, "CPU")
        return f"Ray: {_count(self.actors, 'model')} with {on} each, on {_count(self.nodes, 'node')}."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def joined(num_processes: int | None) -> Iterator[Shares]:
    """Join the cluster that RAY_ADDRESS names, or begin one on this machine, for as long as the context lasts.

    One that this process has joined already is used, and left as it is.

    Args:
        num_processes: actors with a model; one a GPU if left out, or one a node where there is none.

    Raises:
        ConfigError: there is no such cluster, or it has too little.
    """
    set_environment()
    import ray

    began = not ray.is_initialized()
    if began:
        _join(num_processes)
    try:
        yield _shares(num_processes, began and _address() == _OWN)
    finally:
        if began:
            ray.shutdown()


def set_environment() -> None:
    """Set what Ray reads as it is imported, unless a user has."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def _join(num_processes: int | None) -> None:
    import ray

    address = _address()
    options: dict[str, Any] = {}
    if address == _OWN:
        # Beside models on a CPU as many batches are prepared as if there were none: one waits while Ray hands it on.
        options = {"num_cpus": processes.processors() + (num_processes or 1), "include_dashboard": False}
    with _signals_kept(), _silent():
        try:
            _check_reachable(address)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError) as error:
            where = "on this machine" if address == _OWN else f"at {ADDRESS}={address}"
            raise ConfigError(f"--engine ray: Ray can't be had {where}: {first_line(error)}") from error


def _address() -> str:
    return os.environ.get(ADDRESS) or _OWN


def _check_reachable(address: str) -> None:
    """Raise an OSError before long where nobody answers; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep what SIGTERM does here; Ray would exit with 15."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what Ray's C++ says as it starts off the terminal: where its log level comes from."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _shares(num_processes: int | None, own: bool) -> Shares:
    import ray

    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    nodes = sum(node["Alive"] for node in ray.nodes())
    actors = num_processes or gpus or nodes
    if gpus:
        if actors > gpus:
            raise ConfigError(f"--num-processes: {actors}, but each takes a GPU and the cluster has {gpus}.")
        return Shares(actors, True, 0, nodes, False)
    if actors >= cpus:
        raise ConfigError(
            f"--num-processes: {actors}, but each takes a CPU, another one prepares inputs, and the cluster has {cpus}."
        )
    return Shares(actors, False, max(1, cpus // (2 * actors)), nodes, own)


@contextmanager
def told_of_ray() -> Iterator[None]:
    """Say in a sentence what ended a pipeline.

    Raises:
        WorkError: it was Ray, its workers or its machines, and no fault of ours.
    """
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError, WorkerCrashedError

    try:
        yield
    except (RayError, ExecutionTimeoutError) as error:
        if isinstance(error, RayTaskError):
            if is_memory_shortage(error.cause):
                raise WorkError(f"out of memory in a worker of Ray: {first_line(error.cause)}. {_LESS}") from error
            raise
        said = first_line(error).rstrip(".")
        if isinstance(error, WorkerCrashedError | RayActorError | OutOfMemoryError):
            raise WorkError(
                f"a worker of Ray died {RETRIES + 1} times at the same inputs, most likely for want of memory ({said})."
                f" {_LESS}"
            ) from error
        raise WorkError(f"Ray can't go on: {said}. {_WHOLE}") from error
