"""The largest batch that fits, and what a GPU says of its memory; a faked one stands for it."""

import random
import weakref

import numpy
import pytest
import torch

from mmst_cli.model import device_memory
from mmst_cli.model.device_memory import CudaMemory, find_largest, memory_of, room_in
from mmst_cli.model.random_state import randomness_kept

GIB = 2**30


def tries(peak, room, most=1024):
    asked = []
    largest = find_largest(lambda size: asked.append(size) or peak(size), most, room)
    return largest, asked


def test_sizes_are_doubled_and_the_largest_that_was_seen_to_fit_is_taken():
    assert tries(lambda size: 10 + 3 * size, 100) == (30, [1, 2, 4, 8, 16, 30])
    assert tries(lambda size: 10 + 3 * size, 10**9, most=48) == (48, [1, 2, 4, 8, 16, 32, 48])
    assert tries(lambda size: 10 + 3 * size, 12) == (0, [1])
    assert tries(lambda size: None if size > 1 else 5, 12) == (1, [1, 2])
    assert tries(lambda size: 5, 12, most=4) == (4, [1, 2, 4])
    assert tries(lambda size: 5, 12, most=0) == (0, [])


def test_what_fails_at_the_limit_is_never_taken_and_few_are_tried():
    draw = random.Random(0)
    for _ in range(200):
        limit, most, slope = draw.randint(0, 600), draw.choice([1, 7, 64, 1024]), draw.choice([0, 1, 9, 1000])
        # More than a line promises from somewhere on, up to an error: as where attention grows with the square.
        largest, asked = tries(lambda size, on=limit, per=slope: None if size > on else 50 + per * size, 10**6, most)
        assert largest <= min(limit, most) and (largest == 0 or largest in asked)
        assert largest == min(limit, most, 1) or 2 * largest > min(limit, most, (10**6 - 50) // max(slope, 1))
        assert len(asked) <= most.bit_length() + 1 and len(asked) == len(set(asked))


class FakeGpu:
    """80 GiB, of which a driver and another process have 12."""

    def __init__(self, monkeypatch):
        self.outside, self.held, self.reserved, self.peak, self.cleared = 12 * GIB, 3 * GIB, 4 * GIB, 0, []
        for name in ("mem_get_info", "reset_peak_memory_stats", "max_memory_allocated", "memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
        monkeypatch.setattr(device_memory, "clear_device_cache", self.clear)

    def clear(self, garbage_collection=False):
        self.cleared.append(garbage_collection)
        self.reserved = self.held

    def mem_get_info(self, device):
        return 80 * GIB - self.outside - self.reserved, 80 * GIB

    def reset_peak_memory_stats(self, device):
        self.peak = self.held

    def max_memory_allocated(self, device):
        return self.peak

    def memory_reserved(self, device):
        return self.reserved

    def take(self, size):
        self.peak, self.reserved = self.held + size, self.held + size + GIB  # the allocator takes more than it gives
        if self.peak + self.outside > 80 * GIB:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_peak_is_what_is_taken_by_torch_and_by_all_others(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    memory = memory_of(torch.device("cuda", 0))
    assert isinstance(memory, CudaMemory) and memory.total == 80 * GIB
    assert memory.peak_of(lambda: gpu.take(20 * GIB)) == (12 + 3 + 20) * GIB
    assert memory.peak_of(lambda: gpu.take(GIB)) == (12 + 3 + 1) * GIB  # not the largest peak so far
    assert memory.peak_of(lambda: gpu.take(70 * GIB)) is None and gpu.reserved == gpu.held
    # 57 GiB would do, and a tenth of 80 stays free.
    largest = find_largest(lambda size: memory.peak_of(lambda: gpu.take(size * GIB)), 128, room_in(memory))
    assert largest == 57
    assert find_largest(lambda s: memory.peak_of(lambda: gpu.take(s * GIB)), 128, room_in(memory, 30 * GIB)) == 27


def test_nothing_of_a_call_without_room_is_held_and_other_errors_come_through(monkeypatch):
    gpu = FakeGpu(monkeypatch)
    memory, left = CudaMemory(torch.device("cuda", 0)), []

    def call():
        held = numpy.zeros(3)
        left.append(weakref.ref(held))
        gpu.take(100 * GIB)

    assert memory.peak_of(call) is None and left[0]() is None and gpu.cleared == [False, True]
    with pytest.raises(ZeroDivisionError):
        memory.peak_of(lambda: 1 / 0)


def test_the_memory_of_the_cpu_is_not_measured():
    assert memory_of(torch.device("cpu")) is None and memory_of(torch.device("mps")) is None


def test_random_states_are_as_they_were(monkeypatch):
    def states():
        return random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), on_gpus[:]

    on_gpus = [1, 2]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: on_gpus[device])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: on_gpus.__setitem__(device, state))
    before = states()
    with pytest.raises(RuntimeError), randomness_kept():
        random.random(), numpy.random.rand(), torch.rand(1)
        on_gpus[:] = [3, 4]
        raise RuntimeError
    assert states() == before
