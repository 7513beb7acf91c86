"""The commands: their signatures, and errors in one line. Nothing else imports typer, and this imports no torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from mmst_cli.cli.app import app
from mmst_cli.cli.cache_command import cache
from mmst_cli.cli.check_command import check
from mmst_cli.cli.empty_words import refuse_empty_words
from mmst_cli.cli.encode_command import encode
from mmst_cli.cli.evaluate_command import evaluate
from mmst_cli.cli.export_command import export
from mmst_cli.cli.init_command import init
from mmst_cli.cli.inspect_command import inspect_modalities
from mmst_cli.cli.merge_command import merge
from mmst_cli.cli.mine_command import mine
from mmst_cli.cli.plan_command import plan
from mmst_cli.cli.runs_command import runs
from mmst_cli.cli.schema_command import schema
from mmst_cli.cli.score_command import score
from mmst_cli.cli.search_command import search
from mmst_cli.cli.train_command import train
from mmst_cli.errors import ConfigError, Interrupted
from mmst_cli.streams import prepare_streams

__all__ = ["app", "main"]

# In the order in which help lists them.
app.command()(init)
app.command()(check)
app.command()(plan)
app.command()(train)
app.command(name="eval")(evaluate)
app.command()(encode)
app.command()(search)
app.command()(mine)
app.command()(score)
app.command()(merge)
app.command()(export)
app.command()(runs)
app.command()(schema)
app.command(name="inspect-modalities")(inspect_modalities)
app.command()(cache)


def main() -> None:
    """Run the command line."""
    prepare_streams()
    # A tokenizer's threads and forked data workers get into each other's way.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Each dataset that is opened would be counted at a server, with a wait where none is reached.
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
    _take_sigterm_as_interruption()
    _take_up_what_is_ignored()
    try:
        _check_words()
        app()
    finally:  # nothing is left to put away: another signal ends the process at once
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def _check_words() -> None:
    try:
        refuse_empty_words(sys.argv[1:])
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _take_sigterm_as_interruption() -> None:
    """Let a command that is told to end put away what is half done, as it does at Ctrl-C."""
    process = os.getpid()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == process:
            raise Interrupted(number)
        signal.signal(number, signal.SIG_DFL)  # a forked worker, which its parent ends
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, interrupt)


def _take_up_what_is_ignored() -> None:
    """Send a signal again that came in the callback of a weak reference: what is raised there stops nothing."""
    show = sys.unraisablehook

    def again(lost: Any) -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            show(lost)
            return
        number = lost.exc_value.exit_code - 128 if isinstance(lost.exc_value, Interrupted) else signal.SIGINT
        timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again
