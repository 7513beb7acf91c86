"""`mmst` in a process that was forked from one that has imported the libraries."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path


def into_files(out: Path, err: Path) -> tuple[int, int, int]:
    """Return stdin as it is, and two files for what is said, as streams of a command."""
    return 0, *(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in (out, err))


def run_forked(arguments: Sequence[str], streams: Sequence[int], run: Callable[[], None] | None = None) -> int:
    """Run a command and return its exit code, without the interpreter's long goodbye.

    Args:
        arguments: the command line after ``mmst``.
        streams: descriptors of its stdin, stdout and stderr.
        run: what to run instead.
    """
    from mmst_cli.cli import main

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # What the old ones know of seeking is of other files.
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        setattr(sys, name, os.fdopen(number, mode, buffering=1, closefd=False))
    sys.argv = ["mmst", *arguments]
    try:
        (run or main)()
        code = 0
    except SystemExit as leave:
        code = int(leave.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
