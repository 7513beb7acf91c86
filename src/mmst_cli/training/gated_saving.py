"""Saving the final model under its name only once it is seen to be the one that was measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from mmst_cli import processes
from mmst_cli.errors import WorkError
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.storage import replace_folder, write_json


class GateCallback(TrainerCallback):  # type: ignore[misc]
    """Starts the gate's fresh process at the last step, and remembers whether any step could change the model."""

    def __init__(self, gate: SavedModelGate) -> None:
        self.gate = gate
        self.may_stay: bool | None = None
        """Whether every step so far had a learning rate of 0; None before the first."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Look at the learning rate that a step is about to be taken with."""
        optimizer = given.get("optimizer")
        rates = [group.get("lr") for group in optimizer.param_groups] if optimizer is not None else [None]
        stays = all(rate is not None and float(rate) == 0 for rate in rates)
        self.may_stay = stays if self.may_stay is None else self.may_stay and stays

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Let the process import its libraries while the last evaluation runs."""
        if state.global_step >= state.max_steps and processes.is_first():
            self.gate.prepare()


def save_as_measured(
    run: RunFolder,
    gate: SavedModelGate,
    save: Callable[[Path], None],
    write_card: Callable[[Path, GateResult], None],
    *,
    may_stay: bool = False,
    more: Mapping[str, Any] | None = None,
) -> GateResult:
    """Save the model, compare it with the one in memory, and name its folder `model`, or `model.failed` if it differs.

    Args:
        run: the run, whose ``gate.json`` gets the figures.
        gate: what compares.
        save: saves the model into a folder.
        write_card: writes the model card, with what the gate found.
        may_stay: whether training could leave the model as it was.
        more: further figures for ``gate.json``.
    """
    folder = replace_folder(run.unchecked_model, save)
    result = gate.check(folder, may_stay=may_stay)
    write_card(folder, result)
    write_json(run.gate, {**result.to_dict(), **(more or {})})
    # An earlier model of the run isn't the one that its evaluations are about now.
    for earlier in (run.model, run.failed_model):
        shutil.rmtree(earlier, ignore_errors=True)
    folder.rename(run.model if result.passed else run.failed_model)
    return result


def refuse_if_failed(run: RunFolder, result: GateResult) -> None:
    """Raise WorkError if what was saved isn't what was measured."""
    if result.passed:
        return
    again = f" `mmst train {quoted(run.config)} --resume` saves and compares again." if run.checkpoints() else ""
    raise WorkError(
        f"the saved model didn't pass the gate and is in {run.failed_model}, not in {run.model}: {result.sentence}"
        f" The figures are in {run.gate}.{again}"
    )
