"""A device's memory on the CPU: the bytes of the tensors that live while something runs, with a limit to stay below."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from mmst_cli.errors import is_memory_shortage

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from live_bytes import LiveBytes


class LimitedBytes(LiveBytes):
    """Raises what a GPU would where more than so many bytes live."""

    def __init__(self, limit):
        super().__init__()
        self.limit = limit

    def add(self, value):
        super().add(value)
        if self.live > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is")


class CountedMemory:
    """A `DeviceMemory`; ``peaks`` keeps what each call took, None where there was no room."""

    def __init__(self, total):
        self.total, self.peaks = total, []

    def peak_of(self, call):
        counted = LimitedBytes(self.total)
        try:
            with counted:
                call()
        except Exception as error:
            if not is_memory_shortage(error):
                raise
            self.peaks.append(None)
            return None
        self.peaks.append(counted.peak)
        return counted.peak


def limit(monkeypatch, total):
    """Let the CPU have so many bytes for what batches are tried with; return what they took."""
    memory = CountedMemory(total)
    monkeypatch.setattr("mmst_cli.model.device_memory.memory_of", lambda _: memory)
    return memory


LIMITED = f"""
import os, sys
sys.path.append({str(Path(__file__).parent)!r})
from counted_memory import CountedMemory
from mmst_cli.model import device_memory
memory = CountedMemory(int(os.environ["LIMITS"].split()[int(os.environ.get("RANK", 0))]))
device_memory.memory_of = lambda _: memory
"""
"""A module that gives each of several processes its own of the bytes in LIMITS."""
