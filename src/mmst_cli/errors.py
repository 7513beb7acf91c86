"""What can go wrong by a user's hand. Raised below, printed once, by the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MmstError(Exception):
    """A mistake that the user can mend. Its message is shown as it stands, without a traceback."""

    exit_code = 2


class ConfigError(MmstError):
    """The config file or the command line is wrong.

    Args:
        faults: one sentence a fault, each beginning with the dotted key it is about.
    """

    def __init__(self, *faults: str) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(self.faults))


class DataError(MmstError):
    """A file, row or column is missing, broken, or not what the config declares."""


class ColumnError(DataError):
    """A column isn't what the config declares it to be, whichever of its rows is looked at."""


class ModelError(MmstError):
    """The model can't be loaded, or doesn't take what the config wants of it."""


class RunError(MmstError):
    """A run folder is missing, taken, or incomplete."""


class WorkError(MmstError):
    """The work was begun and failed on the way."""

    exit_code = 1


class Interrupted(KeyboardInterrupt):
    """The command was told to stop: by Ctrl-C, or by SIGTERM, which ends a command as cleanly.

    Args:
        number: of the signal; the exit code is 128 and that, as shells have it.
    """

    def __init__(self, number: int = 2) -> None:
        super().__init__()
        self.exit_code = 128 + number


_NO_ROOM = (" out of memory", "can't allocate memory", "ALLOC_FAILED", "CUDNN_STATUS_NOT_SUPPORTED")
"""Words of the RuntimeErrors that torch and the libraries below it raise where a device or the host has no room."""


def is_memory_shortage(error: BaseException) -> bool:
    """Say whether an error means that a device, or the host, has no room for what was to be computed.

    Torch's own class is known by its name, so that this module needs no torch.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_ROOM)


def visible(path: object) -> str:
    """Return a path for a message, in quotes where it ends in a space or has characters that can't be seen."""
    text = str(path)
    return text if text == text.strip() and text.isprintable() else repr(text)


def excerpt(text: str, length: int) -> str:
    """Return ``text`` on one line, cut after ``length`` characters with an ellipsis."""
    line = " ".join(text[: 8 * length].split())
    return line if len(line) <= length else line[:length].rstrip() + " …"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean X?`` with the known name closest to ``name``, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
