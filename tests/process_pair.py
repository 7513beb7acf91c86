"""Commands in processes forked from one that has imported the libraries: one alone, or two that share their work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE = 30  # seconds that torchrun gives the others to end when one has failed
SERVER = Path(__file__).with_name("forking_process.py")


@dataclass(frozen=True)
class Ended:
    """How the processes ended: in their order exit codes (-9: by signal 9), stdout and stderr."""

    codes: list[int]
    out: list[str]
    err: list[str]
    seconds: float
    """From the end of the first process to that of the last."""


class Started:
    """A command that runs, the leader of a process group of its own.

    Args:
        pid: its process.
        out: the file of its stdout.
        err: the file of its stderr.
        ask: sends a request to the process that forked it.
    """

    def __init__(self, pid: int, out: Path, err: Path, ask: Any) -> None:
        self.pid = pid
        self._out, self._err, self._ask = out, err, ask
        self._code: int | None = None

    @property
    def out(self) -> str:
        """What it has said on stdout."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it has said on stderr."""
        return self._err.read_text()

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        if self._code is None:
            self._code = self._ask({"poll": self.pid})
        return self._code

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        if self._code is None:
            self._code = self._ask({"wait": self.pid})
        assert self._code is not None
        return self._code

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal, to all processes of its group if asked for."""
        (os.killpg if group else os.kill)(self.pid, number)


class ProcessPair:
    """Starts the processes of one command after the other.

    Args:
        environment: that of the process that forks, and so of all.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**(os.environ if environment is None else environment), "OMP_NUM_THREADS": "1"},
        )
        self._said = tempfile.TemporaryDirectory()
        self._count = 0

    def run(
        self,
        folder: Path,
        *arguments: str,
        count: int = 2,
        send: tuple[str, int] | None = None,
        environment: dict[str, str] | None = None,
        code: str | None = None,
        launched: bool = True,
    ) -> Ended:
        """Run ``mmst`` with the same arguments in two processes, or in one as without a launcher.

        Args:
            folder: the working directory, in which modules are found, too.
            arguments: the command line after ``mmst``.
            count: how many processes.
            send: how a line on the first one's stderr begins at which all get a signal, and its number.
            environment: variables of all; IMPORT_FIRST is a module that all import before the command runs.
            code: Python code to run instead of the command.
            launched: as by a launcher, the others are ended when one has failed.
        """
        request = {"folder": str(folder), "arguments": arguments, "count": count, "send": send, "code": code}
        return Ended(**self._ask({"run": request | {"environment": environment or {}, "launched": launched}}))

    def start(self, folder: Path, *arguments: str, **environment: str) -> Started:
        """Start ``mmst`` in one process, in a folder."""
        self._count += 1
        out, err = (Path(self._said.name, f"{self._count}-{name}") for name in ("out", "err"))
        for path in (out, err):
            path.touch()
        words = [str(word) for word in arguments]
        request = {"folder": str(folder), "arguments": words, "environment": environment, "code": None}
        return Started(self._ask({"start": request, "out": str(out), "err": str(err)}), out, err, self._ask)

    def alone(self, folder: Path, *arguments: str, code: str | None = None, **environment: str) -> Any:
        """Run ``mmst``, or Python code, in one process; return what `subprocess.run` does."""
        words = [str(word) for word in arguments]
        ended = self.run(folder, *words, count=1, code=code, environment=environment)
        return subprocess.CompletedProcess(["mmst", *words], ended.codes[0], ended.out[0], ended.err[0])

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write("\n")  # it wouldn't see the end of its stdin while forks of this process have it, too
        self._server.stdin.flush()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            pipe.close()
        self._said.cleanup()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
