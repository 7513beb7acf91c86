"""What encodes: this machine, or the workers of a Ray cluster."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from mmst_cli import processes
from mmst_cli.encoding.local_engine import LocalEngine
from mmst_cli.encoding.ray_cluster import ADDRESS, set_environment
from mmst_cli.errors import ConfigError, first_line
from mmst_cli.inputs.opening import Opening
from mmst_cli.terminal import Terminal

if TYPE_CHECKING:
    from mmst_cli.encoding.ray_engine import RayEngine


def check_engine(engine: str, inputs: list[str], num_processes: int | None, batch_size: int | None) -> None:
    """Check that an engine is one of ours, and can do what is asked of it.

    Raises:
        ConfigError: it isn't, or can't.
    """
    if engine not in ("local", "ray"):
        raise ConfigError(f"--engine: {engine}; there is local and ray.")
    if engine == "local":
        return
    if num_processes is not None and num_processes < 1:
        raise ConfigError(f"--num-processes: {num_processes}; it takes 1 or more.")
    if batch_size is None:
        raise ConfigError(
            "--batch-size auto: with --engine ray inputs are cut into batches before a model sees them. Write a number."
        )
    if processes.count() > 1:
        raise ConfigError("--engine ray: Ray starts the processes itself. Start the command without a launcher.")
    if "-" in inputs:
        raise ConfigError(
            "INPUT: - with --engine ray: other processes read the inputs, and stdin is only here. Write the lines into"
            " a .txt file and name that."
        )
    if os.environ.get(ADDRESS, "").startswith("ray://"):
        raise ConfigError(
            f"{ADDRESS}: {os.environ[ADDRESS]} is a Ray client's. Start the command on a node of the cluster, by `ray"
            f" job submit` or with {ADDRESS}=auto."
        )
    set_environment()
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--engine ray: {first_line(error)}: `pip install 'mmst-cli[ray]'` installs Ray.") from error


def open_engine(
    name: str, opening: Opening, num_processes: int | None, workers: int | None, terminal: Terminal
) -> AbstractContextManager[LocalEngine | RayEngine]:
    """Return what encodes, by a name that :func:`check_engine` passed; see the engines of the arguments."""
    if name == "local":
        return nullcontext(LocalEngine(workers, terminal))
    from mmst_cli.encoding.ray_engine import RayEngine

    return RayEngine(opening, num_processes, workers, terminal)
