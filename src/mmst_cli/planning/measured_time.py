"""The time of a run on the machine that was measured, term by term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmst_cli.planning.planned_time import WRITING, limit_of

SPREAD = 0.15
"""How far a machine's speed goes up and down from minute to minute, as a share: the bounds of the range."""
REPORTING = 3.0
"""Seconds for intervals, card and report."""


@dataclass(frozen=True)
class MeasuredTime:
    """Seconds of a run where it was tried."""

    start: float
    training: float
    waiting: float
    """Of training, for data."""
    evaluating: float
    saving: float
    finish: float

    @property
    def total(self) -> float:
        """All together."""
        return self.start + self.training + self.evaluating + self.saving + self.finish

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that are expected."""
        return (1 - SPREAD) * self.total, (1 + SPREAD) * self.total

    @property
    def limit(self) -> str:
        """What the run waits for: `feeding`, `computing`, or its `start` where it is short."""
        return limit_of(self.waiting > 0.5 * self.training, self.start + self.finish, self.total)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        low, high = self.bounds
        return {**vars(self), "total": self.total, "low": low, "high": high, "limit": self.limit}


def time_of(
    *,
    start: float,
    imports: float,
    step: float,
    waiting_share: float,
    steps: int,
    evaluation: float,
    evaluations: int,
    saves: int,
    saved_bytes: int,
) -> MeasuredTime:
    """Return the time of a run: start + steps x a step + evaluations x one + saves + the end.

    The end is a fresh process that imports the libraries again and loads what was saved, and the report.

    Args:
        start: seconds until the first step.
        imports: of these, for the libraries.
        step: seconds.
        waiting_share: of a step, for data.
        steps: that are taken.
        evaluation: seconds of one by all evaluators.
        evaluations: that are run.
        saves: checkpoints that are written.
        saved_bytes: of each.
    """
    return MeasuredTime(
        start=start,
        training=steps * step,
        waiting=steps * step * waiting_share,
        evaluating=evaluations * evaluation,
        saving=saves * saved_bytes / WRITING,
        finish=imports + REPORTING,
    )
