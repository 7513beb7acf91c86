"""`mmst export`: a run's model in another dtype, compared with the one that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmst_cli.config.load import with_model
from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.schema import Config, Dtype
from mmst_cli.errors import RunError, WorkError
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.model.served_layout import save_for_servers
from mmst_cli.output_claim import claimed
from mmst_cli.preparing.prepared_config import prepare_config
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.runs import RunFolder
from mmst_cli.storage import replace_folder, told_of_disk, write_json
from mmst_cli.terminal import Terminal, quiet_libraries

FIGURES = "export.json"


@dataclass(frozen=True)
class Export:
    """What was written."""

    folder: Path
    dtype: str
    gate: GateResult

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"folder": str(self.folder), "dtype": self.dtype, "gate": self.gate.to_dict()}


def run_export(
    run: RunFolder, output: Path, dtype: Dtype, *, overwrite: bool = False, terminal: Terminal | None = None
) -> Export:
    """Write a run's model in a dtype, in a folder that appears only once its vectors were compared.

    Args:
        run: the run.
        output: the folder to write; ``export.json`` in it says how far its vectors are from the measured ones.
        dtype: of the weights; auto leaves them as they are.
        overwrite: replace a folder that is there.
        terminal: where to show progress.

    Raises:
        RunError: the run has no model, or the output is there.
        WorkError: the vectors are too far from those that were measured.
    """
    terminal = terminal or Terminal()
    config = _config_of(run)
    _refuse_if_taken(output, overwrite)
    with claimed(output, "--output"), told_of_disk(output):
        return _export(as_recorded(config, terminal), output, dtype, terminal)


def _config_of(run: RunFolder) -> Config:
    if not run.is_run():
        raise RunError(f"{run.path}: no run of `mmst train`. Name one; its config says what to compare vectors of.")
    if not (run.model / "modules.json").is_file():
        raise RunError(f"{run.path}: this run has no model yet. {run.way_to_model()}")
    return with_model(load_checked_config(run.config, (), for_training=False), str(run.model))


def _refuse_if_taken(output: Path, overwrite: bool) -> None:
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise RunError(f"--output: {output} holds something. Name another place, or add --overwrite.")
    if not (output / FIGURES).is_file():
        raise RunError(f"--overwrite: {output} is no earlier export ({FIGURES} isn't in it). Name another place.")


def _export(config: Config, output: Path, dtype: Dtype, terminal: Terminal) -> Export:
    quiet_libraries(terminal)
    evaluated = [evaluator.dataset for evaluator in config.evaluators.values()]
    prepared = prepare_config(config, terminal, list(dict.fromkeys(evaluated or config.datasets)))
    model = prepared.model
    gate = SavedModelGate(
        model, prepared.rows, prepared.runtime.precision, trust_remote_code=config.model.trust_remote_code
    )
    gate.prepare()
    found: list[Export] = []

    def write(folder: Path) -> None:
        measured = gate.embed()
        if dtype is not Dtype.auto:
            model.to(getattr(torch, dtype))
        held = str(model.dtype).removeprefix("torch.")
        with terminal.waiting(f"writing {output} in {held}"):
            save_for_servers(model, folder, config.matryoshka_dims)
            result = gate.check(folder, measured=measured, exported=held)
        if not result.passed:
            raise WorkError(f"nothing was exported: {result.sentence}")
        found.append(Export(output, held, result))
        write_json(folder / FIGURES, found[0].to_dict())

    try:
        replace_folder(output, write)
    finally:
        gate.close()
    terminal.say(f"gate: {found[0].gate.sentence}")
    terminal.say(f"model: {output} ({found[0].dtype})")
    return found[0]
