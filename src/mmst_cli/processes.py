"""The processes of one training run: which of them writes and speaks, and what they wait for and tell each other.

A launcher (torchrun, `accelerate launch`, `mmst train --num-processes`) starts the same command once a GPU, and tells
each process by ``RANK`` and ``WORLD_SIZE`` which one it is. The first writes and speaks for all. What is said here goes
through the small key-value store that the launcher keeps for them, not through the GPUs: it has no time limit, and
works while another process is stuck. Without a launcher there is one process, nothing is waited for, and torch isn't
imported.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec

from mmst_cli.errors import WorkError, first_line

_POLL = 0.1  # seconds between two looks at the store, after the first few
_ANSWER = timedelta(seconds=20)  # the store answers in this time, or is gone

VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher of several processes says to each."""

Parameters = ParamSpec("Parameters")


def count() -> int:
    """Return how many processes a launcher started; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if os.environ.keys() >= set(VARIABLES) else 1


def processors() -> int:
    """Return how many processors this process may use: its share, where several of a run are on one machine."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, there // int(os.environ.get("LOCAL_WORLD_SIZE", count())))


def rank() -> int:
    """Return which of them this is, from 0."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return rank() == 0


def by_first(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Make a function that does nothing but in the first process."""

    @wraps(function)
    def only_there(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        if is_first():
            function(*args, **kwargs)

    return only_there


def wait() -> None:
    """Wait until every process has come here."""
    gather(None)


def share(value: Any) -> Any:
    """Return the first process's ``value``, a plain one that JSON holds, in every process."""
    return gather(value)[0]


def gather(value: Any) -> list[Any]:
    """Return the ``value`` of every process in their order; each is a plain one that JSON holds.

    All processes have to call this, :func:`share` and :func:`wait` in the same order.
    """
    if count() == 1:
        return [value]
    store, key = _store(), f"gather/{_next()}"
    store.set(f"{key}/{rank()}", json.dumps(value))
    keys = [f"{key}/{other}" for other in range(count())]
    pause = _POLL / 64
    while not store.check(keys):
        time.sleep(pause)  # not in the store: Ctrl-C gets through
        pause = min(2 * pause, _POLL)
    return [json.loads(store.get(one)) for one in keys]


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process through alone; the others follow when it is done, and find what it made."""
    if not is_first():
        wait()
    yield
    if is_first():
        wait()


_own_store: Any = None
_calls = 0


def _next() -> int:
    global _calls
    _calls += 1
    return _calls


def _store() -> Any:
    global _own_store
    _own_store = _own_store or connect()
    return _own_store


def connect() -> Any:
    """Return the launcher's store, or the one that the first process keeps where the launcher has none.

    Raises:
        WorkError: it can't be reached: who keeps it is gone, or something else is at its port.
        torch.distributed.DistError: it could be until now.
    """
    global _lost
    if _lost:
        raise WorkError(_lost)
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = _reach(*place)
    except Exception as error:  # torch has several, of which no base is public
        _lost = (
            f"the processes of the run can't find each other at MASTER_ADDR:MASTER_PORT, {place[0]}:{place[1]}:"
            f" {first_line(error).rstrip('.')}. The process or launcher that is to answer there is gone or never came,"
            " or something else has the port. See what it said; start all again, with another port if this one is"
            " taken."
        )
        raise WorkError(_lost) from error
    # A launcher that starts the processes again after a failure goes on with the same store.
    from torch.distributed import PrefixStore

    names = [os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "RESTART_COUNT")]
    return PrefixStore("/".join(["mmst", *names]), store)


_lost = ""  # why there is no store
_reached: list[Any] = []  # the first connection to it, by which the first process keeps its own


def launcher_keeps_store() -> bool:
    """Whether the launcher keeps the store; else the first process does."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _reach(host: str, port: int) -> Any:
    """Return a connection to the store, or raise what is in the way before long, whatever is at that port."""
    from torch.distributed import TCPStore

    keeps = is_first() and not launcher_keeps_store()
    if not keeps:  # torch would say on pages that nothing is there
        until = time.monotonic() + _patience(host)
        while True:
            try:
                socket.create_connection((host, port), timeout=_POLL * 50).close()
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL)
    found: list[Any] = []

    def connect() -> None:
        try:  # the trainer's own store of the same process goes on with one that is kept here
            options = {"is_master": keeps, "multi_tenant": keeps, "wait_for_workers": False}
            found.append(TCPStore(host, port, timeout=_ANSWER, **options))
        except Exception as error:
            found.append(error)

    # It waits for an answer without an end, should something else have taken the connection.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_ANSWER.total_seconds() / 2)
    if not found:
        raise TimeoutError("what is there doesn't answer")
    if isinstance(found[0], Exception):
        raise found[0]
    _reached[:] = _reached or found
    return found[0]


def _patience(host: str) -> float:
    """Return for how many seconds a store may not be there: processes started by hand come one after the other."""
    if _reached:
        return _POLL * 20
    here = host in ("localhost", "127.0.0.1", "::1", socket.gethostname())
    return _ANSWER.total_seconds() * (1 if here or launcher_keeps_store() else 6)
