"""Whatever a decoder or a processor raises about an input, as an error of that input."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from mmst_cli.errors import DataError, MmstError, WorkError, is_memory_shortage
from mmst_cli.media.content import reason

_MACHINE = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC}
_DEVICE = "AcceleratorError"  # torch's, which decoding an image need not import
_PLAIN = (OSError, ValueError, RuntimeError)  # say in words what is wrong; of a KeyError the words are the key


def concerns_input(error: BaseException) -> bool:
    """Whether an error may be due to the input: not where memory or files ran out, or somebody stopped the work."""
    if not isinstance(error, Exception) or isinstance(error, WorkError) or is_memory_shortage(error):
        return False
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return False
    return type(error).__name__ != _DEVICE


def explain(error: BaseException) -> str:
    """Return in a line what an error says, without a full stop; its kind comes first where the words need it."""
    said = reason(error)
    kind = type(error).__name__
    return said if isinstance(error, _PLAIN) or said == kind else f"{kind}: {said}"


@contextmanager
def as_data_error(beginning: str) -> Iterator[None]:
    """Turn whatever a library raises about an input within this block into a DataError.

    Args:
        beginning: of the sentence: ``the image can't be read``.

    Raises:
        DataError: anything went wrong that may be due to the input. What can be due to no input passes through, as do
            errors that are sentences already.
    """
    try:
        yield
    except MmstError:
        raise
    except Exception as error:
        if not concerns_input(error):
            raise
        raise DataError(f"{beginning}: {explain(error)}.") from error
