"""What a person sees of a command, and what a run's log keeps of it."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, Self

from rich import progress as bars
from rich.console import Console, RenderableType

from mmst_cli import processes
from mmst_cli.lasting_console import LastingConsole, fitted

LOG_WIDTH = 120  # characters a line of a log file
LINE_EVERY = 10.0  # seconds between lines of progress where nobody watches


class Terminal:
    """Writes what goes on to stderr and results to stdout, and keeps a plain copy of both for ``log.txt``.

    Of several processes the first alone is heard.

    Args:
        console: where progress, logs and warnings go.
        json_results: stdout is kept for JSON, and results meant for a person go to stderr.
    """

    def __init__(self, console: Console | None = None, *, json_results: bool = False) -> None:
        silent = not processes.is_first()
        self.console = console or LastingConsole(stderr=True, highlight=False, quiet=silent)
        self._results = self.console if json_results else LastingConsole(highlight=False, quiet=silent)
        self._log: Path | None = None
        self._kept = StringIO()

    @property
    def is_interactive(self) -> bool:
        """Whether a person watches; otherwise plain lines replace moving bars."""
        return self.console.is_terminal

    @property
    def result_width(self) -> int:
        """How many characters a result's line may have."""
        return self._results.width

    def say(self, message: RenderableType = "", style: str | None = None) -> None:
        """Print a line or a table. A string is text, whatever brackets it holds."""
        # A log file or pipe gets whole sentences on one line; only a person's window wraps them.
        shown = fitted(message, self.console.width)
        self.console.print(shown, style=style, markup=False, soft_wrap=not self.is_interactive or _holds_command(shown))
        self.record(message)

    def show(self, result: RenderableType) -> None:
        """Print a result: a table or a sentence."""
        shown = fitted(result, self._results.width)
        whole = isinstance(shown, str) and not self._results.is_terminal
        self._results.print(shown, markup=False, soft_wrap=whole or _holds_command(shown))
        self.record(result)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.say(f"warning: {message}", style="yellow")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show on a terminal that something is going on, for as long as the context lasts.

        What a library prints meanwhile goes to stderr: stdout is for results.
        """
        with redirect_stdout(sys.stderr), self.console.status(what) if self.is_interactive else nullcontext():
            yield

    def progress(self, label: str, total: int | None = None, *, done: int = 0, unit: str = "") -> Progress:
        """Return what shows how far something is, for as long as its context lasts.

        Args:
            label: what is going on.
            total: how many there are to do; None if unknown.
            done: how many of them were done before; the rate doesn't count them.
            unit: what is counted, in the plural.
        """
        return Progress(self, label, total, done=done, unit=unit)

    def record(self, message: RenderableType) -> None:
        """Write to the log alone."""
        plain = StringIO()
        Console(file=plain, width=LOG_WIDTH).print(message, markup=False, highlight=False, soft_wrap=True)
        if self._log is None:
            self._kept.write(plain.getvalue())
        else:
            # A full disk is told of by what can't do without it.
            with suppress(OSError), self._log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(plain.getvalue())

    @processes.by_first
    def log_to(self, path: Path | None) -> None:
        """Append all that was said so far, and all that will be, to ``path``; None ends a log."""
        self._log = path
        if path is None:
            return
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(self._kept.getvalue())
        self._kept = StringIO()


def _holds_command(shown: RenderableType) -> bool:
    """Whether a sentence holds a command, which is to be copied: the window may break its line, but nobody else."""
    return isinstance(shown, str) and "mmst " in shown


class Progress:
    """How far something is: a bar for a person, a line every ten seconds for a log. See :meth:`Terminal.progress`."""

    def __init__(self, terminal: Terminal, label: str, total: int | None, *, done: int, unit: str) -> None:
        self.terminal, self.label, self.total, self.done = terminal, label, total, done
        self._first, self._unit = done, f" {unit}" if unit else ""
        self._started = self._said = time.monotonic()
        self._bar: bars.Progress | None = None
        self._task = bars.TaskID(0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> Self:
        """Start the clock, and the bar where somebody watches."""
        self._started = self._said = time.monotonic()
        if self.terminal.is_interactive:
            left = bars.TimeElapsedColumn() if self.total is None else bars.TimeRemainingColumn(compact=True)
            # Text, whatever brackets it holds; the bar takes the room that the words leave.
            label, rate, note = (
                bars.TextColumn("{task." + name + "}", markup=False)
                for name in ("description", "fields[rate]", "fields[note]")
            )
            columns = (label, bars.BarColumn(bar_width=None), bars.MofNCompleteColumn(), rate, left, note)
            self._bar = bars.Progress(*columns, console=self.terminal.console, transient=True, expand=True)
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.done, rate="", note="")
            self._bar.start()
        return self

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @property
    def rate(self) -> float:
        """How many are done in a second."""
        return (self.done - self._first) / max(time.monotonic() - self._started, 1e-9)

    def advance(self, count: int = 1, *, total: int | None = None, note: str | None = None) -> None:
        """Count ``count`` more; ``total`` may have become known, and ``note`` stands behind the bar until the next."""
        self.done += count
        self.total = self.total if total is None else total
        if self._bar is not None:
            fields: dict[str, Any] = {} if note is None else {"note": note}
            rate = f"{self.rate:,.1f}/s" if self.done > self._first else ""
            self._bar.update(self._task, completed=self.done, total=self.total, rate=rate, **fields)
        elif not self.terminal.is_interactive and time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            self.terminal.say(self._line())

    def _line(self) -> str:
        rate = self.rate
        if self.total is None:
            return f"{self.label}: {self.done:,}{self._unit}, {rate:,.1f}/s"
        left = timedelta(seconds=round(max(0, self.total - self.done) / rate)) if rate else "unknown"
        return f"{self.label}: {self.done:,} of {self.total:,}{self._unit}, {rate:,.1f}/s, time left {left}"

    def summary(self) -> str:
        """Return what was done, and in what time."""
        return f"{self.label}: {self.done:,}{self._unit} in {time.monotonic() - self._started:.1f} s"


class _SayWarnings(logging.Handler):
    """Shows each warning of the libraries once."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self.terminal, self.seen = terminal, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().strip()
        if message not in self.seen:
            self.seen.add(message)
            library = record.name.split(".")[0]
            self.terminal.warn(message if library == "mmst_cli" else f"{library}: {message}")


def quiet_libraries(terminal: Terminal) -> None:
    """Route the libraries' warnings to ``terminal`` and switch their own progress bars off."""
    root = logging.getLogger()
    root.handlers = [_SayWarnings(terminal)]
    root.setLevel(logging.WARNING)
    if not sys.warnoptions:
        # Deprecations between libraries are for their developers; what matters to a user is said by us.
        warnings.simplefilter("ignore")
    import datasets
    import transformers

    datasets.disable_progress_bars()
    hf: Any = transformers.utils.logging
    hf.disable_progress_bar()
    hf.disable_default_handler()
    hf.enable_propagation()
