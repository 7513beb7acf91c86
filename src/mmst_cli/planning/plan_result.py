"""A plan: what a run was found to take, in plain values, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmst_cli.model.device_memory import MARGIN
from mmst_cli.planning.devices import GIB
from mmst_cli.planning.measured_time import MeasuredTime
from mmst_cli.planning.planned_memory import Memory
from mmst_cli.planning.planned_run import Facts, host_bytes
from mmst_cli.planning.planned_time import Time

FITS, TOO_LARGE, STARVES, UNKNOWN = "fits", "doesn't fit", "will starve", "unknown"


@dataclass(frozen=True)
class Advice:
    """A key to change, and what a plan with it saves."""

    change: str
    """As the command line takes it: KEY=VALUE."""
    gibibytes: float | None
    """Of the device's memory that it saves."""
    hours: float | None
    """In the middle of the range."""
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Plan:
    """What a run takes."""

    config: str
    device: str
    facts: Facts
    memory: Memory | None
    """On the device, from the architecture; None where that isn't known."""
    room: float | None
    """Bytes of the device; None where it isn't measured."""
    time: Time | MeasuredTime | None
    disk: Mapping[str, int]
    measured: Mapping[str, Any] | None = None
    """What this machine took, where it was tried."""
    peak: int | None = None
    """Bytes that the process was seen to take at most, where it was tried."""
    cost: float | None = None
    """Of an hour."""
    advice: Sequence[Advice] = ()
    unknown: Sequence[str] = ()
    """Sentences about what can't be known."""
    probed: Sequence[Mapping[str, Any]] = ()
    assumed: Sequence[str] = field(default=())
    """Sentences about what was assumed."""
    not_counted: Sequence[str] = ()
    """What the run does beside that, each begun by its key."""

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The least and the most that the run takes."""
        if self.time is None:
            return None
        if isinstance(self.time, MeasuredTime):
            return self.time.bounds
        return self.time.total.low, self.time.total.high

    @property
    def costs(self) -> tuple[float, float] | None:
        """The least and the most that the devices cost."""
        if self.seconds is None or self.cost is None:
            return None
        an_hour = self.cost * self.facts.work.processes
        return an_hour * self.seconds[0] / 3600, an_hour * self.seconds[1] / 3600

    @property
    def verdict(self) -> str:
        """Whether it fits, and whether it waits for data."""
        if self.memory is not None and self.room is not None and self.memory.peak > (1 - MARGIN) * self.room:
            return TOO_LARGE
        if self.time is not None and self.time.limit == "feeding":
            return STARVES
        return UNKNOWN if self.time is None or (self.memory is None and self.peak is None) else FITS

    @property
    def sentence(self) -> str:
        """The verdict in a sentence."""
        if self.verdict == TOO_LARGE:
            assert self.memory is not None and self.room is not None
            return (
                f"it doesn't fit: {self.memory.peak / GIB:.1f} GiB are needed, and {(1 - MARGIN) * self.room / GIB:.1f}"
                f" of {self.room / GIB:.0f} may be taken."
            )
        if self.verdict == STARVES:
            return "it fits, and will starve: preparing the rows takes longer than computing with them."
        if self.verdict == UNKNOWN:
            return "unknown: what is listed as unknown would decide it."
        if self.time is not None and self.time.limit == "start":
            return "it fits, and is so short that starting and ending take most of the time."
        return "it fits, and computing is what takes the time."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        facts = self.facts
        seconds = self.seconds
        return {
            "config": self.config,
            "device": self.device,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "columns": [
                {**one.sampled.to_dict(), "inputs": one.inputs, "pass": None if one.cost is None else vars(one.cost)}
                for one in facts.columns
            ],
            "work": facts.work.to_dict(),
            "mini_batches": vars(facts.mini_batches),
            "weights": facts.weights.to_dict(),
            "feeding": vars(facts.feeding),
            "memory_bytes": None if self.memory is None else self.memory.to_dict(),
            "device_bytes": self.room,
            "host_bytes": host_bytes(facts),
            "peak_bytes": self.peak,
            "time": None if self.time is None else self.time.to_dict(),
            "seconds": None if seconds is None else {"low": seconds[0], "high": seconds[1]},
            "cost": None if self.costs is None else list(self.costs),
            "disk_bytes": dict(self.disk),
            "measured": self.measured,
            "probed": list(self.probed),
            "advice": [one.to_dict() for one in self.advice],
            "unknown": list(self.unknown),
            "assumed": list(self.assumed),
            "not_counted": list(self.not_counted),
        }


def middle(plan: Plan) -> float | None:
    """Return the middle of a plan's range, in seconds."""
    found = plan.seconds
    return None if found is None else sum(found) / 2
