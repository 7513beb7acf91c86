"""Stopping a run on request: the step ends and a checkpoint is saved. A second Ctrl-C stops at once."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import signal
import threading
import time
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import Any, Self

import torch
from transformers import TrainerCallback

from mmst_cli import processes
from mmst_cli.errors import Interrupted

AGAIN = 0.5  # seconds within which one Ctrl-C may come twice: from the terminal, and passed on by a launcher
_SAID = b"\nstopping: this step is finished and a checkpoint saved; Ctrl-C again stops at once\n"


class StopSignals:
    """Notes that the run shall stop, for as long as the context lasts, instead of breaking off in the middle of a step.

    Data workers are forked with these handlers, where they do nothing: the process that waits for them decides.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        """The number of the first signal, once there was one."""
        self._process, self._at = os.getpid(), 0.0
        self._before: dict[int, Any] = {}
        self._said = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def tell(self) -> None:
        """Say once what happens now. Of several processes each gets SIGTERM also where another one has failed."""
        said, self._said = self._said, True
        if processes.is_first() and not said:
            with suppress(OSError):  # not by the terminal, which may be in the middle of a line
                os.write(2, _SAID)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        if self.asked is None:
            self.asked, self._at = number, time.monotonic()
            if number == signal.SIGINT or processes.count() == 1:
                self.tell()
        elif number == signal.SIGINT and time.monotonic() - self._at > AGAIN:
            raise Interrupted(number)


class StopCallback(TrainerCallback):  # type: ignore[misc]
    """Ends a run after the step in which it was asked to, with a checkpoint of that step."""

    def __init__(self, stop: StopSignals) -> None:
        self.stop, self._number = stop, 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint; what else is due at this step is done before it."""
        self._number = _agree(self.stop.asked or 0, args)
        if self._number:
            self.stop.tell()
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop, now that the checkpoint is whole: the end of training would load and remove others."""
        if self._number:
            raise Interrupted(self._number)


def _agree(number: int, args: Any) -> int:
    """Return the signal that one of the processes got, so that all of them stop at the same step."""
    if args.world_size == 1:
        return number
    asked = torch.tensor(number, device=args.device)
    torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
    return int(asked.item())


def outlive_first_sigterm() -> None:
    """Let a data worker go on after a first SIGTERM, which its whole group may get: the step needs it to the end."""

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # the second is meant for it

    signal.signal(signal.SIGTERM, end)


@cache
def end_workers_at_exit() -> None:
    """Kill what data workers there still are when the interpreter ends.

    It would send each a SIGTERM, which those that outlive the first are not ended by, and wait for them for ever: where
    an error holds the loader that they belong to.
    """

    def kill_workers() -> None:
        for worker in multiprocessing.active_children():
            worker.kill()

    multiprocessing.util.Finalize(None, kill_workers, exitpriority=100)
