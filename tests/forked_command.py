"""`mmst` in a process that was forked from one that has imported the libraries."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path


def import_everything() -> None:
    """Import what a command may need, the classes of a model among it, so that no fork has to."""
    import datasets.load
    import datasets.packaged_modules.csv.csv
    import datasets.packaged_modules.parquet.parquet  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import torch
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    import mmst_cli
    from mmst_cli.builtin.registry import build_builtin

    for module in pkgutil.walk_packages(mmst_cli.__path__, "mmst_cli."):
        if not module.name.endswith(("__main__", "plain_probe")):
            importlib.import_module(module.name)
    model = SentenceTransformer(str(build_builtin("builtin:tiny-qwen3-vl")), device="cpu")
    with torch.no_grad():
        model.encode([Image.new("RGB", (64, 64)), "a text"], show_progress_bar=False)
    gc.freeze()  # a fork that collects garbage looks at its own alone


def into_files(out: Path, err: Path) -> tuple[int, int, int]:
    """Return streams of a command: nothing to read, and two files for what is said."""
    said = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for path in (out, err))
    return os.open(os.devnull, os.O_RDONLY), *said


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
