"""How much memory a call takes of a device, and the largest batch that fits into it by trying.

Nothing is taken that fits by accident: a tenth of the device stays free, for what a trial can't know: memory in pieces
that fit nothing, inputs that are larger than those that were tried, libraries that take their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from accelerate.utils.memory import clear_device_cache

from mmst_cli.errors import is_memory_shortage

MARGIN = 0.1
"""Share of a device that stays free."""


class DeviceMemory(Protocol):
    """The memory of the device that a model is on."""

    total: int
    """Bytes."""

    def peak_of(self, call: Callable[[], object]) -> int | None:
        """Return the most bytes that are taken of the device while ``call`` runs, by whomever; None if it has no room.

        What else ``call`` raises is raised. Afterwards nothing of it is held.
        """


class CudaMemory:
    """The memory of a GPU.

    Torch counts what its own tensors take; the rest, such as the driver's and that of other processes, is what is
    neither free nor torch's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.total = int(torch.cuda.mem_get_info(device)[1])

    def peak_of(self, call: Callable[[], object]) -> int | None:
        """See :class:`DeviceMemory`."""
        clear_device_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        try:
            call()
            torch.cuda.synchronize(self.device)
        except Exception as error:
            if not is_memory_shortage(error):
                raise
            fits = False
        else:
            fits = True
        peak = int(torch.cuda.max_memory_allocated(self.device))
        free, total = torch.cuda.mem_get_info(self.device)
        others = total - free - torch.cuda.memory_reserved(self.device)
        # Only here: as long as the error is held, so is all that the call had.
        clear_device_cache(garbage_collection=True)
        return peak + max(0, others) if fits else None


def memory_of(device: torch.device) -> DeviceMemory | None:
    """Return the memory of a device; None where it isn't measured: of the CPU, which may swap, and of Apple's GPUs."""
    return CudaMemory(device) if device.type == "cuda" else None


def not_measured(device: torch.device) -> str:
    """Return the clause that says why nothing is found by the memory of a device."""
    return f"the memory of the {'CPU' if device.type == 'cpu' else device.type} isn't measured"


def find_largest(peak_of: Callable[[int], int | None], most: int, room: int) -> int:
    """Return the largest size that was seen to fit; 0 if not even 1 does.

    Sizes are doubled until one doesn't fit, or wouldn't by the line through the last two, which costs nothing. What
    that line promises in between is tried at last, so that it takes the doublings up to ``most`` and one call more.

    Args:
        peak_of: tries a size and returns what :meth:`DeviceMemory.peak_of` does.
        most: no larger size is wanted.
        room: bytes that may be taken.
    """
    largest, peak, slope, size = 0, 0, 0.0, min(1, most)
    while largest < size:
        found = peak_of(size)
        if found is None or found > room:
            break
        slope = (found - peak) / (size - largest) if largest else 0.0
        largest, peak = size, found
        size = min(2 * size, most)
        if slope > 0 and peak + slope * (size - largest) > room:
            break
    if largest == most or slope <= 0:
        return largest
    between = min(size - 1, largest + int((room - peak) / slope))
    if between > largest and (found := peak_of(between)) is not None and found <= room:
        return between
    return largest


def room_in(memory: DeviceMemory, taken_later: int = 0) -> int:
    """Return how many bytes a trial may take in all.

    Args:
        memory: of the device.
        taken_later: bytes that will be held beside what is tried, and aren't yet.
    """
    return int(memory.total * (1 - MARGIN)) - taken_later
