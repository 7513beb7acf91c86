"""The process from which :class:`process_pair.ProcessPair` has its commands forked; run as a script.

Each line of stdin is a request, which a line of stdout answers.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from empty_charts import empty_charts
from forked_command import import_everything, into_files, run_forked
from one_fresh_process import one_fresh_process
from process_pair import GRACE

_running: set[int] = set()


def _run(request: dict[str, Any]) -> dict[str, Any]:
    import torch.distributed as dist

    count = request["count"]
    shared: dict[str, str] = {}
    if count > 1:
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": uuid.uuid4().hex}
    with tempfile.TemporaryDirectory() as folder:
        paths = [[Path(folder, f"{name}{rank}") for name in ("out", "err")] for rank in range(count)]
        children = {}
        for rank in range(count):
            own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if count > 1 else {}
            children[_fork(request, {**own, **request["environment"]}, *paths[rank])] = rank
        codes, seconds = _wait(children, request, paths[0][1])
        out, err = ([of_one[i].read_text() for of_one in paths] for i in range(2))
    return {"codes": codes, "out": out, "err": err, "seconds": seconds}


def _fork(request: dict[str, Any], environment: dict[str, str], out: Path, err: Path) -> int:
    """Start a process and return its number."""
    child = os.fork()
    if child == 0:
        os._exit(_run_here(request, environment, out, err))
    _running.add(child)
    return child


def _run_here(request: dict[str, Any], environment: dict[str, str], out: Path, err: Path) -> int:
    os.setsid()
    os.chdir(request["folder"])
    os.environ |= environment
    sys.path.insert(0, request["folder"])
    if first := environment.get("IMPORT_FIRST"):
        importlib.import_module(first)
    code = request["code"]
    run = None if code is None else lambda: exec(compile(code, "code", "exec"), {"__name__": "__main__"})
    return run_forked(request["arguments"], into_files(out, err), run)


def _wait(children: dict[int, int], request: dict[str, Any], said: Path) -> tuple[list[int], float]:
    """Do as a launcher: when one fails, end the others. Return exit codes, and the seconds between the ends."""
    codes: dict[int, int] = {}
    first, send = None, request["send"]
    while len(codes) < len(children):
        if send and said.exists() and any(line.startswith(send[0]) for line in said.read_text().splitlines()):
            _signal(children, codes, send[1])
            send = None
        child, code = _look(-1, os.WNOHANG)
        if child in children:
            codes[child] = code
            if first is None:
                first = time.monotonic()
                if codes[child] and request["launched"]:
                    _signal(children, codes, signal.SIGTERM)
        elif first is not None and any(codes.values()) and time.monotonic() - first > GRACE and request["launched"]:
            _signal(children, codes, signal.SIGKILL)
        time.sleep(0.02)
    ended = sorted((rank, codes[child]) for child, rank in children.items())
    return [code for _, code in ended], time.monotonic() - (first or 0)


def _signal(children: dict[int, int], ended: dict[int, int], number: int) -> None:
    for child in children.keys() - ended.keys():
        os.kill(child, number)


def _answer(request: dict[str, Any]) -> Any:
    if "run" in request:
        return _run(request["run"])
    if "start" in request:
        asked = request["start"]
        return _fork(asked, asked["environment"], Path(request["out"]), Path(request["err"]))
    child, code = _look(request["wait"], 0) if "wait" in request else _look(request["poll"], os.WNOHANG)
    return code if child else None


def _look(child: int, options: int) -> tuple[int, int]:
    """Return which process has ended, 0 if none has, and its exit code."""
    ended, status = os.waitpid(child, options)
    _running.discard(ended)
    return ended, os.waitstatus_to_exitcode(status)


def _serve() -> None:
    with one_fresh_process(for_forks=True) as renew, empty_charts():  # the first of two processes asks the fresh one
        import_everything()
        try:
            for line in sys.stdin:
                if not line.strip():
                    break
                renew()
                print(json.dumps(_answer(json.loads(line))), flush=True)
        finally:
            for child in _running:  # a test that failed waited for none of them
                with suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
