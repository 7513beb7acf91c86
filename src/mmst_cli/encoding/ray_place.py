"""A worker of Ray made to compute as the command itself would, and what is said in it kept for the command to say."""

from __future__ import annotations

import io
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from mmst_cli import __version__
from mmst_cli.errors import ConfigError
from mmst_cli.terminal import Terminal, quiet_libraries


@dataclass(frozen=True)
class Place:
    """Where and how the workers of a command compute."""

    folder: Path
    """Where the command was begun, which relative paths begin at."""
    threads: int | None
    """Of a model on the CPU; None on a GPU."""
    version: str = __version__
    """Of the command."""

    def enter(self) -> None:
        """Make this process compute so.

        Raises:
            ConfigError: it can't be the same command.
        """
        node = f"the node {socket.gethostname()}"
        if self.version != __version__:
            raise ConfigError(
                f"--engine ray: {node} has mmst {__version__}, and this is {self.version}. Install the same version on"
                " all nodes."
            )
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise ConfigError(
                f"--engine ray: {self.folder}, where the command was begun, isn't there on {node}. Begin it in a folder"
                " that all nodes of the cluster see."
            ) from error


def find_remote_code() -> None:
    """Let models that are handed to this process find the code that came with their checkpoint."""
    from transformers.dynamic_module_utils import init_hf_modules

    init_hf_modules()


class Messages:
    """Keeps what a worker would show on a terminal, for the command to show."""

    def __init__(self) -> None:
        self._said = io.StringIO()
        self.terminal = Terminal(Console(file=self._said, width=10_000))
        quiet_libraries(self.terminal)

    def take(self) -> list[str]:
        """Return the lines that were said since it was last asked."""
        lines = self._said.getvalue().splitlines()
        self._said.seek(0)
        self._said.truncate()
        return lines
