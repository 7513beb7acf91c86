"""How far `mmst encode` is: a bar for a person, a line now and then for a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as bars

from mmst_cli.terminal import Terminal

LINE_EVERY = 10  # seconds between lines where nobody watches


class Progress:
    """Counts inputs."""

    def __init__(self, terminal: Terminal, total: int | None, done: int, bar: bars.Progress | None) -> None:
        self._terminal, self._total, self._bar = terminal, total, bar
        self._done = self._first = done
        self._started = self._said = time.monotonic()
        self._task = bar.add_task("encoding", total=total, completed=done, rate="") if bar else None

    def advance(self, inputs: int) -> None:
        """Count ``inputs`` more."""
        self._done += inputs
        now = time.monotonic()
        rate = (self._done - self._first) / max(now - self._started, 1e-9)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, rate=f"{rate:.1f}/s")
        elif now - self._said >= LINE_EVERY:
            self._said = now
            self._terminal.say(self._line(rate))

    def _line(self, rate: float) -> str:
        if self._total is None:
            return f"{self._done:,} inputs, {rate:.1f}/s"
        left = time.strftime("%H:%M:%S", time.gmtime((self._total - self._done) / rate)) if rate else "unknown"
        return f"{self._done:,} of {self._total:,} inputs, {rate:.1f}/s, time left {left}"


@contextmanager
def show_progress(terminal: Terminal, total: int | None, done: int) -> Iterator[Progress]:
    """Show progress on ``terminal`` for as long as the context lasts.

    Args:
        terminal: where.
        total: number of inputs; None if unknown.
        done: how many of them are done already.
    """
    if not terminal.is_interactive:
        yield Progress(terminal, total, done, None)
        return
    columns = [
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn() if total is not None else bars.TimeElapsedColumn(),
    ]
    with bars.Progress(*columns, console=terminal.console) as bar:
        yield Progress(terminal, total, done, bar)
