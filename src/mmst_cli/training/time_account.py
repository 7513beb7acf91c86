"""Where the time of a training run goes: waiting for data, copying, forward, backward, mining, evaluation, saving."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from mmst_cli.processes import processors
from mmst_cli.time_shares import KINDS

WORTH_ADVICE = 0.1  # of the time, spent waiting for data
WORTH_SECONDS = 5.0  # spent so, below which the first batches are most of it


class TimeAccount:
    """Adds up seconds by kind of work; what is begun within other work is not counted as that.

    On CUDA, work is only handed to the device while the host's clock runs, so that a pass ends with waiting for it: a
    step waits for its gradient in any case.

    Args:
        device: where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._open: list[str] = ["other"]
        self._since = time.perf_counter()
        self._seconds = dict.fromkeys(KINDS, 0.0)

    @contextmanager
    def spent(self, kind: str, *, waits: bool = False) -> Iterator[None]:
        """Count the seconds of the context as those of a kind; within an evaluation all are those of the evaluation.

        Args:
            kind: one of KINDS.
            waits: wait at its end for what the device was given.
        """
        self._turn()
        self._open.append("evaluation" if self._open[-1] == "evaluation" else kind)
        try:
            yield
            if waits and self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
        finally:
            self._turn()
            self._open.pop()

    def take(self) -> dict[str, float]:
        """Return the seconds by kind since they were last taken, in the order of KINDS."""
        self._turn()
        found, self._seconds = self._seconds, dict.fromkeys(KINDS, 0.0)
        return found

    def _turn(self) -> None:
        now = time.perf_counter()
        self._seconds[self._open[-1]] += now - self._since
        self._since = now


def advice(seconds: Mapping[str, float], args: Any) -> str:
    """Return a sentence on what to do about waiting for data; empty where that took little.

    Args:
        seconds: by kind.
        args: the trainer's arguments.
    """
    whole = sum(seconds.values())
    if seconds.get("data", 0.0) < max(WORTH_SECONDS, WORTH_ADVICE * whole):
        return ""
    cores, workers = processors(), args.dataloader_num_workers
    found = f"{seconds['data'] / whole:.0%} of the time was waiting for data. "
    if workers < cores:
        return f"{found}Set training.dataloader_num_workers={cores} (it is {workers}; there are {cores} cores)."
    return (
        f"{found}All {cores} cores prepare it (training.dataloader_num_workers is {workers}): set"
        " datasets.X.prepare=true where they are images, store smaller files, or take a machine with more cores."
    )
