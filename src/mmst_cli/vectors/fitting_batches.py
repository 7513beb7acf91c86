"""Batches as large as the memory takes: halved where one doesn't fit, for a vector doesn't depend on its neighbours."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, MutableMapping
from typing import TypeVar
from weakref import WeakKeyDictionary

from accelerate.utils.memory import clear_device_cache
from torch import nn

from mmst_cli.errors import WorkError, is_memory_shortage

Found = TypeVar("Found")

_log = logging.getLogger(__name__)
SEEN_TO_FIT: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""Model to the largest batch that was seen to fit, once one didn't: it holds for all that comes after."""


class MemoryShortageError(WorkError):
    """There is no room for a single input."""


def fitting_size(model: nn.Module, batch_size: int) -> int:
    """Return how many inputs go into a batch: ``batch_size``, or what was seen to fit."""
    return min(batch_size, SEEN_TO_FIT.get(model, batch_size))


def encode_fitting(
    model: nn.Module,
    encode: Callable[[int], Found],
    batch_size: int,
    asked: int | None = None,
    fitting: MutableMapping[nn.Module, int] = SEEN_TO_FIT,
) -> Found:
    """Return what ``encode`` returns, given the largest batch that fits: ``batch_size``, or half of it, and so on.

    What was halved is said, once for each size that turned out right.

    Args:
        model: whose batches they are.
        encode: takes the inputs per forward pass, and does the work.
        batch_size: inputs in the batch at hand.
        asked: the size of batches that was asked for, where this one is cut from a stream.
        fitting: takes what was seen to fit; it holds for all batches of the model unless something else is given.

    Raises:
        MemoryShortageError: not even one input fits.
    """
    known, asked = fitting.get(model, batch_size), asked or batch_size
    size = min(batch_size, known)
    while True:
        try:
            found = encode(size)
        except Exception as error:
            if not is_memory_shortage(error):
                raise
            if size == 1:
                began = f" ({asked} were asked for)" if asked > 1 else ""
                raise MemoryShortageError(f"out of memory with one input in a batch{began}") from error
        else:
            if size < min(batch_size, known):
                _log.warning(
                    "out of memory with %d inputs in a batch. Going on with %d, which gives the same vectors.",
                    *(asked, size),
                )
            return found
        # Only here: as long as the error is held, so is all that the batch had in memory.
        gc.collect()
        clear_device_cache()
        size //= 2
        fitting[model] = size
