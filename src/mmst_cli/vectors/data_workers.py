"""The processes that prepare inputs beside the model: how many there are, and what draws from them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from mmst_cli import processes
from mmst_cli.errors import MmstError, WorkError
from mmst_cli.vectors.batches import Batch
from mmst_cli.vectors.prepared_batches import Preparation, Prepared, feature_bytes

CHEAP = 0.002  # seconds for an input, below which another process would cost more than it saves
WORTH = 2.0  # seconds of preparing that are left, below which none is started
IN_FLIGHT = 4 * 2**30  # bytes of batches that are prepared or wait for the model
AHEAD = 2**29  # bytes above which a process begins no batch before its last one is taken
MOST = 16  # processes
TRIED = 8  # inputs, to find two that can be prepared
SHARED_MEMORY = Path("/dev/shm")
POLITE = 10  # added to the niceness of processes beside a model that computes on the same processors

# Two sentences of torch's loader: a signal that it saw, and a process that it found gone.
_KILLED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (\w+)|exited unexpectedly)"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workers:
    """How many processes prepare inputs, and how many batches each of them has ready at most."""

    count: int = 0
    prefetch: int = 2


def workers_of(training: Mapping[str, Any]) -> Workers | None:
    """Return what the trainer's own fields say; None where they leave it to the cost of an input."""
    count = training.get("dataloader_num_workers")
    if count is None:
        return None
    return Workers(int(count), int(training.get("dataloader_prefetch_factor") or Workers.prefetch))


@dataclass(frozen=True)
class Cost:
    """What preparing an input takes."""

    seconds: float
    bytes: int
    """Of its features."""


def measure(prepare: Preparation, batch: Batch) -> Cost | None:
    """Return what preparing an input of a batch costs by itself; None where none of the first ones can be prepared.

    The first one may pay for what is loaded at first use, so that the cheaper of two is taken.
    """
    found = []
    for one in batch.cut(1)[:TRIED]:
        begun = time.perf_counter()
        with one_thread():
            prepared = prepare(one)
        if cost := cost_of(prepared, time.perf_counter() - begun):
            found.append(cost)
        if len(found) == 2 or any(cost.seconds < CHEAP for cost in found):
            break
    return min(found, key=lambda cost: cost.seconds) if found else None


def cost_of(prepared: Prepared, seconds: float) -> Cost | None:
    """Return what each of the prepared inputs took; None where there is none."""
    count = sum(len(group.places) for group in prepared.groups)
    size = sum(feature_bytes(group.features) for group in prepared.groups)
    return Cost(seconds / count, size // count) if count else None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread, as processes that prepare inputs do, so that the same comes out to the bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_workers(cost: Cost, batch_size: int, device: torch.device, left: int | None) -> Workers:
    """Choose by what an input costs, by the processors and by the memory that processes share.

    Beside an accelerator all processors but one prepare inputs, and both of two: its own process mostly waits. A model
    on the CPU needs them itself, so that there are two, which give way to it, and more only where there are many
    processors.

    Args:
        cost: of an input.
        batch_size: inputs of a batch.
        device: of the model.
        left: how many inputs there are to prepare; None if unknown.
    """
    if cost.seconds < CHEAP or (left is not None and cost.seconds * left < WORTH):
        return Workers()
    cores = processes.processors()
    wanted = 2 + cores // 4 if device.type == "cpu" else max(2, cores - 1)
    count = min(max(1, wanted), cores, MOST)
    if left is not None:
        count = min(count, -(-left // batch_size))
    room = min(IN_FLIGHT, _free_shared_memory() // 2)
    batch = max(1, cost.bytes * batch_size)
    if room < batch:
        _log.warning(
            "inputs are prepared in the process of the model: a batch of them takes %d MiB, and processes share %d MiB"
            " here. A smaller batch size, or more shared memory (docker run --shm-size), lets others prepare them.",
            *(batch >> 20, 2 * room >> 20),
        )
        return Workers()
    count = min(count, room // batch)
    return Workers(count, 2 if 2 * batch * count <= AHEAD else 1)


def _free_shared_memory() -> int:
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 2 * IN_FLIGHT


class WorkerPool:
    """Prepares batches in other processes, which stay for the next stream; closing it ends them at once.

    Args:
        prepare: what they do.
        workers: how many they are.
        device: of the model.
        setting: what sets their number, for messages.
        method: how they are started; forked where that is safe, so that nothing is loaded again.
    """

    def __init__(
        self,
        prepare: Preparation,
        workers: Workers,
        device: torch.device,
        setting: str = "--workers",
        method: str | None = None,
    ) -> None:
        self._turns, self._setting = _Turns(), setting
        method = method or ("fork" if sys.platform == "linux" else "spawn")
        self._loader: DataLoader[Any] | None = DataLoader(
            _Prepared(prepare),
            batch_sampler=self._turns,  # type: ignore[arg-type]
            num_workers=workers.count,
            prefetch_factor=workers.prefetch,
            collate_fn=_as_it_is,
            pin_memory=device.type == "cuda",
            persistent_workers=True,
            multiprocessing_context=multiprocessing.get_context(method),
            worker_init_fn=BeginWorker(device, leave_interruptions),
            generator=torch.Generator(),  # or the random state of a training would change
        )

    def prepare(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Prepared]]:
        """Yield batches in order, prepared.

        Raises:
            WorkError: the system killed a process.
        """
        assert self._loader is not None, "the pool is closed"
        self._turns.batches, self._turns.waiting = batches, []
        loader = iter(self._loader)
        while True:
            try:
                with told_of_killed_workers(self._setting):
                    prepared = next(loader, None)
            except MmstError as error:
                # From another process it comes with a traceback for a message, which ends in the sentence.
                raise _as_said(error) from error
            if prepared is None:
                return
            yield self._turns.waiting.pop(0), prepared
            del prepared  # or it would be held while the next one is awaited

    def close(self) -> None:
        """End the processes, whatever they are doing; the loader would wait for the batches that they have begun."""
        loader, self._loader = self._loader, None
        running: Any = getattr(loader, "_iterator", None)
        if running is None:
            return
        if hasattr(running, "_pin_memory_thread"):  # first, for it would wait for the rest of what one was sending
            running._pin_memory_thread_done_event.set()
            running._worker_result_queue.put((None, None))
            running._pin_memory_thread.join()
        for process in running._workers:
            process.terminate()
        running._shutdown_workers()


class _Turns:
    """The batches of the stream whose turn it is, and those that are being prepared."""

    batches: Iterable[Batch] = ()
    waiting: list[Batch]

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.waiting.append(batch)
            yield batch


class _Prepared(Dataset[Any]):  # type: ignore[misc]
    def __init__(self, prepare: Preparation) -> None:
        self.prepare = prepare

    def __getitems__(self, batch: Batch) -> Prepared:
        return self.prepare(batch)


class BeginWorker:
    """Begins a process that prepares inputs. Warnings are the parent's to say, which has said them on its first inputs.

    Args:
        device: of the model; processes beside one on the CPU give way to it. None where no model works meanwhile.
        then: what else is done.
    """

    def __init__(self, device: torch.device | None, then: Callable[[], None]) -> None:
        self._polite, self._then = device is not None and device.type == "cpu", then

    def __call__(self, _worker: int) -> None:
        """Begin it."""
        logging.getLogger().handlers = [logging.NullHandler()]
        if self._polite and hasattr(os, "nice"):
            os.nice(POLITE)
        self._then()


def leave_interruptions() -> None:
    """Leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(prepared: Prepared) -> Prepared:
    return prepared


def _as_said(error: MmstError) -> MmstError:
    kind = type(error)
    return kind(str(error).rpartition(f"{kind.__name__}: ")[2].strip())


@contextmanager
def told_of_killed_workers(setting: str) -> Iterator[None]:
    """Say in a sentence that the system killed a process that prepares inputs.

    Args:
        setting: what sets how many there are.

    Raises:
        WorkError: it did.
    """
    try:
        yield
    except RuntimeError as error:
        then = f": lower {setting}, or 0 prepares them in the process of the model."
        if (said := said_of_killed(error, "prepares inputs", then)) is None:
            raise
        raise WorkError(said) from error


def said_of_killed(error: BaseException, does: str, then: str) -> str | None:
    """Return the sentence about a process of a data loader that the system killed; None if no error is about that.

    Args:
        error: what was raised.
        does: what the process does.
        then: how the sentence ends.
    """
    pid = killed_worker(error)
    return pid and f"the system ended a process that {does} ({pid}), most likely for want of memory{then}"


def killed_worker(error: BaseException | None) -> str | None:
    """Return which process of a data loader the system killed, if that is what an error, or its cause, is about."""
    while error is not None:
        if isinstance(error, RuntimeError) and (found := _KILLED.search(str(error))):
            return found[1].strip()
        error = error.__cause__ or error.__context__
    return None
