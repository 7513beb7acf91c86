"""Hours of a run, term by term: what the device computes and what feeds it, apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

UTILISATION = (0.30, 0.55)
"""The share of a device's peak that training reaches, least and most; models of a billion parameters and more."""
LAUNCH = (5e-6, 15e-6)
"""Seconds that handing an operation to a GPU takes, least and most: what small models wait for."""
WRITING = 500e6
"""Bytes a second to a disk, assumed."""


@dataclass(frozen=True)
class Span:
    """A quantity between two bounds, in seconds."""

    low: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Span:
        """Return so many of it."""
        return Span(self.low * factor, self.high * factor)

    def at_least(self, seconds: float) -> Span:
        """Return it, or so many seconds where these are more."""
        return Span(max(self.low, seconds), max(self.high, seconds))

    def to_dict(self) -> dict[str, float]:
        """Return plain values for JSON."""
        return {"low": self.low, "high": self.high}


@dataclass(frozen=True)
class Rates:
    """What a device computes in a second, and what an operation costs beside its arithmetic."""

    slow: float
    """Operations a second."""
    fast: float
    launch: Span

    def seconds(self, flops: float, kernels: float) -> Span:
        """Return max(operations / rate, kernels x launch)."""
        return Span(
            max(flops / self.fast, kernels * self.launch.low), max(flops / self.slow, kernels * self.launch.high)
        )


def rates_of(peak: float) -> Rates:
    """Return the rates of a device whose peak is known."""
    return Rates(UTILISATION[0] * peak, UTILISATION[1] * peak, Span(*LAUNCH))


def limit_of(waits: bool, ends: float, total: float) -> str:
    """Return what a run waits for: `feeding`, `computing`, or `start` where starting and ending take most of it.

    Args:
        waits: whether training waits for data.
        ends: seconds of starting and ending.
        total: seconds of the run.
    """
    if ends > total / 2:
        return "start"
    return "feeding" if waits else "computing"


@dataclass(frozen=True)
class Feeding:
    """What preparing inputs takes."""

    train_row_ms: float
    """Milliseconds to read and process a row, all of its columns, on one processor."""
    evaluated_input_ms: float
    """The same of an evaluated input."""
    processes: int
    """That do it side by side, 1 at least."""


@dataclass(frozen=True)
class Time:
    """Seconds of a run."""

    start: Span
    computing: Span
    """Training on the device."""
    feeding: float
    """Preparing the rows of training."""
    evaluating: Span
    feeding_evaluations: float
    saving: float
    finish: Span

    @property
    def training(self) -> Span:
        """The slower of computing and feeding."""
        return self.computing.at_least(self.feeding)

    @property
    def total(self) -> Span:
        """All together, one after another."""
        evaluating = self.evaluating.at_least(self.feeding_evaluations)
        return self.start + self.training + evaluating + Span(self.saving, self.saving) + self.finish

    @property
    def limit(self) -> str:
        """What the run waits for: `feeding`, `computing`, or its `start` where it is short."""
        return limit_of(self.feeding > self.computing.low, self.start.low + self.finish.low, self.total.low)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "start_seconds": self.start.to_dict(),
            "computing_seconds": self.computing.to_dict(),
            "feeding_seconds": self.feeding,
            "evaluating_seconds": self.evaluating.to_dict(),
            "feeding_evaluations_seconds": self.feeding_evaluations,
            "saving_seconds": self.saving,
            "finish_seconds": self.finish.to_dict(),
            "total_seconds": self.total.to_dict(),
            "limit": self.limit,
        }
