"""The end of a training run: what was measured, the model that it was measured of, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmst_cli.evaluation.comparison import verdict
from mmst_cli.evaluation.evaluation_output import save_evaluation_files
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.evaluation.report_page import write_page
from mmst_cli.model.merged_adapter import has_adapter
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.training.gated_saving import save_as_measured
from mmst_cli.training.model_card import write_card
from mmst_cli.training.serving_section import serving_section
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.vectors.ranges import BEFORE as RANGES_BEFORE
from mmst_cli.vectors.ranges import SUFFIX as RANGES


def finish(
    job: TrainingJob,
    gate: SavedModelGate,
    after: Mapping[str, Evaluation],
    *,
    may_stay: bool,
    figures: Mapping[str, Any] | None = None,
) -> tuple[str, GateResult]:
    """Write evaluations, model and report into the run folder; return the verdict, and what the gate found.

    Args:
        job: what was trained.
        gate: compares the saved model with the one in memory.
        after: what was measured of the trained model.
        may_stay: whether training could leave the model as it was.
        figures: what else the gate found, of an adapter.
    """
    run, before = job.run, job.measurements.before
    for ranges in run.evaluations.glob(f"*{RANGES}"):  # a run that was finished before had another model
        if not ranges.name.endswith(RANGES_BEFORE):
            ranges.unlink()
    for name, evaluation in after.items():
        save_evaluation_files(evaluation, job.suite, run.evaluations, before=before.get(name))
    summary = verdict(before, after)
    # Servers take an adapter only beside its base, each in a way of its own.
    alone = has_adapter(job.model)
    serving = "" if alone else serving_section(job.model, job.precision, job.config.matryoshka_dims)
    saved = save_as_measured(
        run,
        gate,
        job.save_served,
        lambda folder, found: write_card(folder, job.card(after, summary, found.sentence, serving)),
        may_stay=may_stay,
        more=figures,
    )
    job.terminal.say(f"gate: {saved.sentence}")
    if saved.passed:
        run.drop_replaced()
    write_page(run.report, job.config, job.rows, job.suite, verdict=summary, before=before, after=after, run=run)
    return summary, saved
