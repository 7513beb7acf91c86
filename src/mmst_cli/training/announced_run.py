"""What `mmst train` says of a run before its first step: the short form of `mmst plan`, of what it knows anyway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmst_cli.planning.counted_work import Work, count_work
from mmst_cli.planning.plan_page import in_gib
from mmst_cli.planning.planned_memory import checkpoint_bytes, weights_of
from mmst_cli.training.run_settings import inputs_of_evaluators


def announced(job: Any, args: Any) -> Iterator[str]:
    """Yield what a rehearsed job takes: samples, tokens, bytes.

    Args:
        job: a :class:`mmst_cli.training.training_job.TrainingJob`.
        args: the trainer's.
    """
    config = job.config
    inputs = inputs_of_evaluators(config, job.suite.evaluators, job.rows)
    evaluates = bool(job.suite.evaluators)
    work = count_work(config, args, job.loss_rows, job.steps, inputs, evaluates=evaluates, processes=args.world_size)
    yield f"plan: {', '.join(_work(work))}"
    if job.rehearsed.tokens:
        told = [
            f"{column} {least:,}" if least == most else f"{column} {least:,} to {most:,}"
            for column, (least, most) in job.rehearsed.tokens.items()
        ]
        yield f"plan: tokens of the rows that were tried: {', '.join(told)}"
    weights = weights_of(job.model, job.rehearsed.state_bytes)
    saved = checkpoint_bytes(
        weights, only_model=bool(config.training.get("save_only_model")), adapter=config.model.adapter is not None
    )
    disk = f"; {work.kept_checkpoints} checkpoints of {in_gib(saved)} at a time" if work.saves else "; no checkpoint"
    yield (
        f"plan: weights {in_gib(weights.bytes)}, gradients {in_gib(weights.trained_bytes)}, optimizer"
        f" {in_gib(weights.state_bytes)}{disk}"
    )


def _work(work: Work) -> Iterator[str]:
    yield f"{work.steps:,} steps of {work.step_rows:,} rows"
    yield f"{work.samples:,} in all"
    for name, count in work.negatives.items():
        of = f" of {name}" if len(work.negatives) > 1 else ""
        yield f"{count:,} negatives an anchor{of}"
    if work.evaluations:
        each = "" if work.inputs_per_evaluation is None else f" of {work.inputs_per_evaluation:,} inputs"
        yield f"{work.evaluations:,} evaluations{each}"
