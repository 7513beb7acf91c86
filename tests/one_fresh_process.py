"""One fresh process for all runs of a session: it imports sentence-transformers once.

What `mmst train` does by itself, a process a run, is tested by running it as a command.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from mmst_cli.preparing.fresh_process import FreshProcess


@contextmanager
def one_fresh_process(*, for_forks: bool = False) -> Iterator[Callable[[], None]]:
    """Let all runs ask the same process, which starts when the first one asks.

    Gives a function to call before each fork: if the last one was killed while it asked, the next asks another process.

    Args:
        for_forks: start it now, for runs in processes that are forked from this one.
    """
    start, ask, close = FreshProcess.__init__, FreshProcess.ask, FreshProcess.close
    shared = object.__new__(FreshProcess)
    answering = multiprocessing.Value("b", False)  # seen by all forks

    def let_forks_ask() -> None:
        # In a fork it is nobody's child, which `poll` would take for its end.
        shared._process.poll = lambda: None

    def renew() -> None:
        if answering.value:
            close(shared)
            start(shared)
            let_forks_ask()
            answering.value = False

    def start_shared(_: FreshProcess) -> None:
        if not vars(shared):
            start(shared)

    def ask_shared(_: FreshProcess, request: Mapping[str, Any]) -> str | None:
        if answering.value:  # the fork that asked was killed: the next answer is not for this one
            shared.__dict__.clear()
            start(shared)
        answering.value = True
        said = ask(shared, request)
        answering.value = False
        return said

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FreshProcess, "__init__", start_shared)
        patch.setattr(FreshProcess, "ask", ask_shared)
        patch.setattr(FreshProcess, "close", lambda _: None)
        if for_forks:
            start_shared(shared)
            let_forks_ask()
        yield renew
    if vars(shared):
        close(shared)
