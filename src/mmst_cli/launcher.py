"""Several processes of one command on this machine, started as torchrun starts them, and ended together.

torchrun itself would end them 30 seconds after it was told to stop, while they may still write a checkpoint, and would
follow their sentence by a table and a traceback.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from mmst_cli import processes
from mmst_cli.errors import ConfigError, WorkError

Started = Sequence[subprocess.Popen[bytes]]

_POLL = 0.1  # seconds between two looks at the processes
_GRACE = 30.0  # seconds that the others have for ending once one has failed


def launch(count: int, arguments: Sequence[str], *, on_cpu: bool) -> None:
    """Run ``mmst`` with the same arguments in ``count`` processes, one a GPU, and wait until all have ended.

    Args:
        count: how many.
        arguments: the command line after ``mmst``.
        on_cpu: whether they compute on the CPU, where any number goes.

    Raises:
        ConfigError: there are fewer GPUs, or a launcher started this process itself.
        WorkError: a process was ended from outside, without a word.
        SystemExit: a process failed and said why, or all were told to stop; the exit code is theirs.
    """
    _check(count, on_cpu)
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # any port that is free
    shared = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)), **os.environ}
    shared |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": uuid.uuid4().hex}
    started: list[subprocess.Popen[bytes]] = []
    command = [sys.executable, "-m", "mmst_cli", *arguments]
    with _signals_passed_on(started) as told:
        try:
            for rank in range(count):
                own = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                # In a session of its own, so that what a terminal sends comes once: from here.
                started.append(subprocess.Popen(command, env=own, start_new_session=True))
            if told:  # while the last were started
                _send(started, told[0])
            failed = _wait(started, told)
        finally:
            _send(started, signal.SIGKILL)
    if failed is not None:
        _tell(started, failed, told)


def no_gpu() -> bool:
    """Whether a command that takes GPUs where there are some computes on the CPU here."""
    import torch

    return not torch.cuda.is_available()


def _wait(started: Started, told: Sequence[int]) -> int | None:
    """Wait until all have ended, and end the others where one fails; return which failed first, None if none did."""
    failed, until = None, 0.0
    while None in [process.poll() for process in started]:
        if failed is None and (failed := _failed(started)) is not None and not told:
            _send(started, signal.SIGTERM)
            until = time.monotonic() + _GRACE
        if until and time.monotonic() > until:
            _send(started, signal.SIGKILL)
        time.sleep(_POLL)
    return _failed(started) if failed is None else failed


def _failed(started: Started) -> int | None:
    return next((rank for rank, process in enumerate(started) if process.returncode), None)


def _tell(started: Started, failed: int, told: Sequence[int]) -> None:
    """End as the processes did; say what a process couldn't that was killed, unless another one has said it."""
    if told:
        raise SystemExit(128 + told[0])
    spoke = [process.returncode for process in started if process.returncode in (1, 2)]
    code = started[failed].returncode
    if code < 0 and not spoke:
        raise WorkError(
            f"process {failed} of the run was ended from outside by signal {-code}, and the others with it."
            f"{' The system does that when memory runs out.' if code == -signal.SIGKILL else ''}"
            " The same command with --resume goes on from what is whole, if anything is."
        )
    raise SystemExit(code if code > 0 else spoke[0])


@contextmanager
def _signals_passed_on(started: Started) -> Iterator[list[int]]:
    """Pass on to the processes what tells this one to stop, so that they save a checkpoint; give what came so far."""
    told: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        _send(started, number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
        ends = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        # One that is ignored, as `nohup` has it, is ignored by the processes, too.
        before = {
            number: signal.signal(number, pass_on) for number in ends if signal.getsignal(number) != signal.SIG_IGN
        }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(started: Started, number: int) -> None:
    for process in started:
        process.send_signal(number)  # which leaves those alone that have ended


def _check(count: int, on_cpu: bool) -> None:
    if processes.count() > 1:
        raise ConfigError(
            f"--num-processes: a launcher has started {processes.count()} processes already. Leave it out, or start"
            " the command without the launcher."
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
