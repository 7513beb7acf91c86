"""What a person sees of a command, and what a run's log keeps of it."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

LOG_WIDTH = 120  # characters a line of a log file


class Terminal:
    """Writes what goes on to stderr and results to stdout, and keeps a plain copy of both for ``log.txt``.

    Args:
        console: where progress, logs and warnings go.
        json_results: stdout is kept for JSON, and results meant for a person go to stderr.
    """

    def __init__(self, console: Console | None = None, *, json_results: bool = False) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._results = self.console if json_results else Console(highlight=False)
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
        self.console.print(message, style=style, markup=False, soft_wrap=not self.is_interactive)
        self.record(message)

    def show(self, result: RenderableType) -> None:
        """Print a result: a table or a sentence."""
        self._results.print(result, markup=False, soft_wrap=isinstance(result, str) and not self._results.is_terminal)
        self.record(result)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.say(f"warning: {message}", style="yellow")

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Show on a terminal that something is going on, for as long as the context lasts."""
        return self.console.status(what) if self.is_interactive else nullcontext()

    def record(self, message: RenderableType) -> None:
        """Write to the log alone."""
        plain = StringIO()
        Console(file=plain, width=LOG_WIDTH).print(message, markup=False, highlight=False, soft_wrap=True)
        if self._log is None:
            self._kept.write(plain.getvalue())
        else:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(plain.getvalue())

    def log_to(self, path: Path) -> None:
        """Append all that was said so far, and all that will be, to ``path``."""
        self._log = path
        with path.open("a", encoding="utf-8") as file:
            file.write(self._kept.getvalue())
        self._kept = StringIO()


class _SayWarnings(logging.Handler):
    """Shows each warning of the libraries once."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self.terminal, self.seen = terminal, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage().strip()
        if message not in self.seen:
            self.seen.add(message)
            self.terminal.warn(f"{record.name.split('.')[0]}: {message}")


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
