"""`mmst` in a process that was forked from one that has imported the libraries."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path


def run_forked(arguments: Sequence[str], out: Path, err: Path) -> int:
    """Run a command, what it says into two files, and return its exit code, without the interpreter's long goodbye."""
    from mmst_cli.cli import main

    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.argv = ["mmst", *arguments]
    try:
        main()
        code = 0
    except SystemExit as leave:
        code = int(leave.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
