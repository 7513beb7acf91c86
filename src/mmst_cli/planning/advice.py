"""The first keys to change: a plan is made again with each, and what it saves is the difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mmst_cli.config.load import as_yaml, with_override
from mmst_cli.config.rules import check_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import MmstError
from mmst_cli.planning.changed_keys import PRICES, worth_trying
from mmst_cli.planning.devices import GIB
from mmst_cli.planning.plan_result import FITS, STARVES, TOO_LARGE, UNKNOWN, Advice, Plan, middle

SHOWN = 3
_RANKS = (FITS, STARVES, UNKNOWN, TOO_LARGE)
"""Verdicts, the best first."""
WORTH = 0.02
"""Share of the time, or of the memory, below which a change isn't worth telling."""


def advise(config: Config, plan: Plan, again: Callable[[Config], Plan], *, on_gpu: bool) -> list[Advice]:
    """Return the keys to change, those first that mend what the verdict found, then those that save most.

    Args:
        config: of the plan.
        plan: what the run takes as it is.
        again: makes the plan of another config.
        on_gpu: whether the device is one.
    """
    found = []
    for key, value in worth_trying(config, plan, on_gpu=on_gpu):
        change = f"{key}={as_yaml(value)}"
        try:
            other_config = with_override(config, change)
            check_config(other_config)
            other = again(other_config)
        except MmstError:
            continue  # one that this config can't have
        found.append(_Tried(change, plan, other))
    by_memory = plan.verdict == TOO_LARGE
    found = [one for one in found if one.share(by_memory) > WORTH and not one.spoils]
    found.sort(key=lambda one: (one.mends, one.share(by_memory)), reverse=True)
    return [one.advice() for one in found[:SHOWN]]


@dataclass(frozen=True)
class _Tried:
    """A change and what came of it."""

    change: str
    before: Plan
    after: Plan

    @property
    def mends(self) -> bool:
        """Whether the verdict is a better one."""
        return _RANKS.index(self.after.verdict) < _RANKS.index(self.before.verdict)

    @property
    def worsens(self) -> bool:
        """Whether it is a worse one."""
        return _RANKS.index(self.after.verdict) > _RANKS.index(self.before.verdict)

    @property
    def spoils(self) -> bool:
        """Whether it no longer fits."""
        return self.after.verdict == TOO_LARGE != self.before.verdict

    @property
    def bytes(self) -> float | None:
        """That it saves of the device's memory."""
        if self.before.memory is None or self.after.memory is None:
            return None
        return float(self.before.memory.peak - self.after.memory.peak)

    @property
    def seconds(self) -> float | None:
        """That it saves in the middle of the ranges."""
        before, after = middle(self.before), middle(self.after)
        return None if before is None or after is None else before - after

    def share(self, of_memory: bool) -> float:
        """Return what it saves as a share of what there was."""
        if of_memory:
            memory = self.before.memory
            return (self.bytes or 0.0) / memory.peak if memory else 0.0
        return (self.seconds or 0.0) / (middle(self.before) or 1.0)

    def advice(self) -> Advice:
        """Return what is told of it."""
        hours = None if self.seconds is None else self.seconds / 3600
        return Advice(self.change, None if self.bytes is None else self.bytes / GIB, hours, self._told())

    def _told(self) -> str:
        key = self.change.partition("=")[0].rpartition(".")[2]
        price = [PRICES[key]] if key in PRICES else []
        return "; ".join([*price, *([f"then it {self.after.verdict}"] if self.mends or self.worsens else [])])
