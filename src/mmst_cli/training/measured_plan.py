"""A plan for the machine that was measured, and for changed configs by what they compute in proportion."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmst_cli.planning.measured_time import time_of
from mmst_cli.planning.plan_result import Plan
from mmst_cli.planning.planned_memory import checkpoint_bytes
from mmst_cli.planning.planned_run import Facts, plan_disk, plan_memory, step_flops
from mmst_cli.training.measured_run import Measured


@dataclass(frozen=True)
class MeasuredPlan:
    """Makes plans of what was measured.

    Args:
        config: what plans call the config.
        kind: the device.
        measured: what it took.
        facts: of the config that it was measured with.
        cost: of an hour.
    """

    config: str
    kind: torch.device
    measured: Measured
    facts: Facts
    cost: float | None

    def plan(self, facts: Facts, peak: int | None = None) -> Plan:
        """Return a plan; of other facts than were measured, a step takes longer in proportion to its operations.

        Its waiting for data goes in proportion to the milliseconds that a row takes to prepare.

        Args:
            facts: what the run consists of.
            peak: bytes that were seen to be taken, if it is the run that was tried.
        """
        measured, work = self.measured, facts.work
        waiting = measured.step_seconds * measured.waiting_share
        before, now = step_flops(self.facts), step_flops(facts)
        computing = (measured.step_seconds - waiting) * (now / before if before and now else 1.0)
        fed = self.facts.feeding.train_row_ms
        waiting *= facts.feeding.train_row_ms / fed if fed else 1.0
        step = computing + waiting
        return Plan(
            config=self.config,
            device=f"this machine ({measured.device})",
            facts=facts,
            memory=plan_memory(facts, 0.0),
            room=_room_of(self.kind),
            time=time_of(
                start=measured.start_seconds,
                imports=measured.import_seconds,
                step=step,
                waiting_share=waiting / step if step else 0.0,
                steps=work.steps,
                evaluation=measured.evaluation_seconds,
                evaluations=work.evaluations,
                saves=work.saves,
                saved_bytes=checkpoint_bytes(facts.weights, only_model=facts.only_model, adapter=facts.adapter),
            ),
            disk=plan_disk(facts),
            measured=measured.to_dict(),
            peak=peak,
            cost=self.cost,
        )


def _room_of(device: torch.device) -> float | None:
    """Return the bytes of a device; None where they aren't measured."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    import psutil  # type: ignore[import-untyped]

    return float(psutil.virtual_memory().total) if device.type == "cpu" else None
