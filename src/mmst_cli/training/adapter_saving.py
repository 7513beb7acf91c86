"""The end of training an adapter: saved by itself, compared, and merged into the model that is then measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmst_cli import processes
from mmst_cli.model.merged_adapter import merge_adapter, without_adapter
from mmst_cli.model.precision import dtype_name
from mmst_cli.preparing.probe_comparison import OTHER_PLACE, SAME_GPU, distance
from mmst_cli.preparing.saved_model_gate import SavedModelGate
from mmst_cli.storage import replace_folder
from mmst_cli.training.model_card import write_card
from mmst_cli.training.training_job import TrainingJob

MERGED = {**OTHER_PLACE, "float32": 1e-5}
"""How far merging an adapter may move vectors, as shares of their length: in half precision sums are rounded."""


@contextmanager
def adapter_settled(job: TrainingJob, gate: SavedModelGate, *, may_stay: bool) -> Iterator[dict[str, Any]]:
    """Save the adapter that was trained and merge it, so that within the context the model is one without an adapter.

    What is measured and saved there is what is shipped: weights of half precision round what an adapter adds to them.
    Outside of the context the adapter is there again, for a checkpoint.

    Args:
        job: what was trained.
        gate: compares the adapter that is saved with the one in memory.
        may_stay: whether training could leave the model as it was.

    Yields:
        Figures for ``gate.json``; none where there is no adapter, or it stays by itself and is the model.
    """
    adapter = job.config.model.adapter
    if adapter is None or not adapter.merge:
        if processes.is_first():
            _forget_earlier(job)
        yield {}
        return
    figures: dict[str, Any] = {}
    if processes.is_first():
        figures["adapter"] = _save(job, gate, may_stay=may_stay)
        apart = gate.embed()
    merge_adapter(job.model)
    with without_adapter(job.model):
        if processes.is_first():
            merged = gate.embed()
            moved = [distance(merged.vectors[key], apart.vectors[key]) for key in apart.vectors]
            figures["moved_by_merging"] = max(moved, default=0.0)
            _say(job, gate, figures["moved_by_merging"])
        job.suite.last_step = None  # what the last step was measured with isn't what is saved
        yield figures


def _save(job: TrainingJob, gate: SavedModelGate, *, may_stay: bool) -> dict[str, Any]:
    """Write the adapter's folder, called `adapter.failed` where it isn't what is in memory; return what was found."""
    run = job.run
    folder = replace_folder(run.unchecked_adapter, job.save)
    found = gate.check(folder, may_stay=may_stay)
    write_card(folder, job.card({}, "", found.sentence, adapter=True))
    _forget_earlier(job)
    folder.rename(run.adapter if found.passed else run.failed_adapter)
    if found.passed:
        job.terminal.say(f"adapter: {run.adapter}: {found.sentence}")
    else:
        job.terminal.warn(f"the saved adapter is in {run.failed_adapter}, not in {run.adapter}: {found.sentence}")
    return found.to_dict()


def _forget_earlier(job: TrainingJob) -> None:
    for earlier in (job.run.adapter, job.run.failed_adapter):
        shutil.rmtree(earlier, ignore_errors=True)


def _say(job: TrainingJob, gate: SavedModelGate, moved: float) -> None:
    dtype = gate.autocast or dtype_name(job.model.dtype)
    allowed = MERGED.get(dtype, SAME_GPU["float32"])
    if moved <= allowed:
        job.terminal.say(f"adapter: merged; vectors differ from those of the adapter by up to {moved:.2g}")
        return
    job.terminal.warn(
        f"merged, the vectors differ from those of the adapter by up to {moved:.2g} of their length, and {allowed:g} is"
        f" usual in {dtype}. What is measured is the merged model; model.adapter.merge=false keeps the adapter alone."
    )
