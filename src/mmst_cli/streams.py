"""Standard streams that can't take what is written: no character, and no reader that went away, ends the work."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, TextIO


def prepare_streams() -> None:
    """Let the standard streams take every character, and their numbers be no other file's.

    A stream that was closed before the start leaves its number to the next file that is opened, into which libraries
    would then print.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def takes_any_character(stream: TextIO | None) -> bool:
    """Say whether a stream's encoding has every character."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")


def drain(stream: Any) -> None:
    """Lead a stream that nobody reads to nowhere, so that the interpreter can close it at the end."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
