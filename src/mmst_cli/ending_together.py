"""How the processes of one training run end: all of them when one fails, with one sentence about it.

The process that fails first says why, and the others end without a word. One that was killed can't say anything: those
on the same machine notice that it is gone, and one of them says so. Each has a thread for this, since its main one may
be stuck in an exchange with the process that is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from mmst_cli import processes

LOST = (
    "another process of the run is gone without a word, perhaps for want of memory."
    " The same command with --resume goes on from what is whole, if anything is."
)
_WATCH = 0.5  # seconds between two looks for a process that failed
_POLL = 0.1  # seconds between two looks for those that heard of it
_GRACE = 2.0  # seconds in which the process that failed first says why, before the launcher ends it with the others
_FAILED = "failed"
_OF_OTHERS = ("connection closed by peer", "connection reset", "gloo", "nccl", "distributed evaluator failed")

_watcher: threading.Thread | None = None
_leaving = threading.Event()
_last_work = threading.RLock()


def watch() -> None:
    """From here on, end this process soon after another one failed or was killed, whatever it is doing."""
    global _watcher
    if processes.count() > 1 and _watcher is None:
        store = processes.connect()
        store.set(f"alive/{processes.rank()}", json.dumps([_place(), os.getpid()]))
        _watcher = threading.Thread(target=_watch, args=(store,), daemon=True)
        _watcher.start()


def leave() -> None:
    """Take leave of the other processes at the end of the work, once all have come here."""
    if processes.count() == 1:
        return
    import torch.distributed

    processes.wait()
    _leaving.set()
    if _watcher is not None:
        _watcher.join()  # the interpreter ends this process by SIGABRT if it ends before such a thread
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    store = processes.connect()
    store.set(f"left/{processes.rank()}", "")
    if processes.is_first() and not processes.launcher_keeps_store():  # with this process the store goes
        until = time.monotonic() + 10 * _GRACE
        while not store.check([f"left/{rank}" for rank in range(processes.count())]) and time.monotonic() < until:
            time.sleep(_POLL)


def speaks(exit_code: int) -> bool:
    """Tell the other processes that this one failed, and return if it was the first to: it is the one to say why."""
    if processes.count() == 1:
        return True
    _ignore_signals()
    mine = f"{processes.rank()} {exit_code}"
    try:
        store = processes.connect()
        first = store.compare_set(_FAILED, "", mine).decode()
        _wait_for_listeners(store)
    except Exception:  # the store is gone: with the launcher that kept it, else with the first process
        return processes.is_first() or not processes.launcher_keeps_store()
    if first != mine:
        time.sleep(_GRACE)
        end(int(first.split()[1]))
    return True


@contextmanager
def last_work() -> Iterator[None]:
    """What this process has to put in order when it fails is done before another one's failure ends it.

    From then on a launcher's signals are ignored, too.
    """
    with _last_work:
        if processes.count() > 1:
            _ignore_signals()
        yield


def _wait_for_listeners(store: Any) -> None:
    """In the process that keeps the store, stay until the others, even those that come late, heard that one failed."""
    heard, until = store.add("heard", 1), time.monotonic() + 10 * _GRACE
    if processes.is_first() and not processes.launcher_keeps_store():
        while heard < processes.count() and time.monotonic() < until:
            time.sleep(_POLL)
            heard = store.add("heard", 0)
        time.sleep(_GRACE + _WATCH)  # in which they end; without a store torch would fill pages


def let_first_speak() -> None:
    """In the other processes, wait until the first said what all have to say, and is about to end."""
    if not processes.is_first():
        _ignore_signals()
        with suppress(Exception):  # the store is gone: so is the first
            store, until = processes.connect(), time.monotonic() + 10 * _GRACE
            while not store.check([_FAILED]) and time.monotonic() < until:
                time.sleep(_WATCH)


def is_lost(error: BaseException) -> bool:
    """Whether an error comes of another process that is gone, after giving that one the time to say why it went."""
    if processes.count() == 1:
        return False
    if isinstance(error, KeyboardInterrupt):  # it may come from a launcher, which ends this process with another one
        with suppress(Exception):
            return _one_is_gone(processes.connect())
        return False
    found = any(word in str(error).lower() for word in _OF_OTHERS)
    if found:
        _ignore_signals()
        time.sleep(2 * _GRACE)  # if it failed in an orderly way, this process is ended in the meantime
    return found


def end(exit_code: int) -> NoReturn:
    """End this process at once: others may be stuck in an exchange with it, which an orderly end would wait for."""
    _last_work.acquire(timeout=10 * _GRACE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def _ignore_signals() -> None:
    """Let no launcher, which signals all when one has failed, come between this process and its last words."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _watch(store: Any) -> None:
    try:
        while not store.check([_FAILED]):
            if _leaving.wait(_WATCH):
                return
            if _one_is_gone(store):
                break
        else:
            failed, exit_code = map(int, store.get(_FAILED).decode().split())
            if failed != processes.rank():
                store.add("heard", 1)
                time.sleep(_GRACE)
                end(exit_code)
            return
    except Exception:  # the store is gone, and with it the process or the launcher that kept it
        pass
    _say_lost()


def _say_lost() -> None:
    """Say that another process is gone, unless one has said why, and end; the main thread may be stuck."""
    if _leaving.wait(_GRACE):
        return
    if speaks(1):
        sys.stderr.write(f"error: {LOST}\n")
    end(1)


def _one_is_gone(store: Any) -> bool:
    """Whether a process of this machine is gone that neither failed in an orderly way nor took leave."""
    for rank in set(range(processes.count())) - {processes.rank()}:
        if store.check([f"alive/{rank}"]):
            place, number = json.loads(store.get(f"alive/{rank}"))
            if place == _place() and not _runs(number):
                # Looked at after it was seen to be gone: what it wrote, it wrote before.
                return not store.check([f"left/{rank}"]) and not store.check([_FAILED])
    return False


def _place() -> list[str]:
    """Return what tells where a process's number is known: the machine, and the container."""
    container = Path("/proc/self/ns/pid")
    return [socket.gethostname(), str(container.readlink()) if container.is_symlink() else ""]


def _runs(number: int) -> bool:
    """Whether a process of this machine is at work: one that ended may stay in the table until its parent looks."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True
