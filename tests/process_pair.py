"""Commands in two processes that share their work, as a launcher starts them, but forked: libraries are imported once.

As a module it gives tests :class:`ProcessPair`; run as a script it is the process that forks.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forked_command import into_files, run_forked
from one_fresh_process import one_fresh_process

GRACE = 30  # seconds that torchrun gives the others to end when one has failed


@dataclass(frozen=True)
class Ended:
    """How the processes ended: in their order exit codes (-9: by signal 9), stdout and stderr."""

    codes: list[int]
    out: list[str]
    err: list[str]
    seconds: float
    """From the end of the first process to that of the last."""


class ProcessPair:
    """Starts the processes of one command after the other."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        folder: Path,
        *arguments: str,
        count: int = 2,
        send: tuple[str, int] | None = None,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run ``mmst`` with the same arguments in two processes, or in one as without a launcher.

        Args:
            folder: the working directory, in which modules are found, too.
            arguments: the command line after ``mmst``.
            count: how many processes.
            send: how a line on the first one's stderr begins at which all get a signal, and its number.
            environment: variables of all; IMPORT_FIRST is a module that all import before the command runs.
        """
        request = {"folder": str(folder), "arguments": arguments, "count": count, "send": send}
        request["environment"] = environment or {}
        assert self._server.stdin and self._server.stdout
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate("")


def _run(request: dict[str, Any]) -> dict[str, Any]:
    import torch.distributed as dist

    count = request["count"]
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": uuid.uuid4().hex}
    with tempfile.TemporaryDirectory() as folder:
        paths = [[Path(folder, f"{name}{rank}") for name in ("out", "err")] for rank in range(count)]
        children = {}
        for rank in range(count):
            own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
            if (child := os.fork()) == 0:
                os._exit(_run_here(request, {**own, **request["environment"]}, *paths[rank]))
            children[child] = rank
        codes, seconds = _wait(children, request["send"], paths[0][1])
        out, err = ([of_one[i].read_text() for of_one in paths] for i in range(2))
    return {"codes": codes, "out": out, "err": err, "seconds": seconds}


def _run_here(request: dict[str, Any], environment: dict[str, str], out: Path, err: Path) -> int:
    os.chdir(request["folder"])
    os.environ |= environment
    sys.path.insert(0, request["folder"])
    if first := environment.get("IMPORT_FIRST"):
        importlib.import_module(first)
    return run_forked(request["arguments"], into_files(out, err))


def _wait(children: dict[int, int], send: tuple[str, int] | None, said: Path) -> tuple[list[int], float]:
    """Do as a launcher: when one fails, end the others. Return exit codes, and the seconds between the ends."""
    codes: dict[int, int] = {}
    first = None
    while len(codes) < len(children):
        if send and said.exists() and any(line.startswith(send[0]) for line in said.read_text().splitlines()):
            _signal(children, codes, send[1])
            send = None
        child, status = os.waitpid(-1, os.WNOHANG)
        if child in children:
            codes[child] = os.waitstatus_to_exitcode(status)
            if first is None:
                first = time.monotonic()
                if codes[child]:
                    _signal(children, codes, signal.SIGTERM)
        elif first is not None and any(codes.values()) and time.monotonic() - first > GRACE:
            _signal(children, codes, signal.SIGKILL)
        time.sleep(0.02)
    ended = sorted((rank, codes[child]) for child, rank in children.items())
    return [code for _, code in ended], time.monotonic() - (first or 0)


def _signal(children: dict[int, int], ended: dict[int, int], number: int) -> None:
    for child in children.keys() - ended.keys():
        os.kill(child, number)


def _serve() -> None:
    import datasets.packaged_modules.json.json  # noqa: F401

    import mmst_cli.training.train  # noqa: F401

    with one_fresh_process(for_forks=True):  # the first of two processes asks it
        for line in sys.stdin:
            print(json.dumps(_run(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
