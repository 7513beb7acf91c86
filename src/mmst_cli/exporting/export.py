"""`mmst export`: a run's model in another dtype, compared with the one that was measured."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmst_cli.config.schema import Config, Dtype
from mmst_cli.errors import ModelError
from mmst_cli.model.merged_adapter import absorb_adapter
from mmst_cli.model.precision import dtype_name
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.output_claim import claimed
from mmst_cli.preparing.compared_folder import config_of_run, probed_datasets, refuse_if_taken, write_compared
from mmst_cli.preparing.prepared_config import prepare_config
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.storage import told_of_disk
from mmst_cli.terminal import Terminal, quiet_libraries

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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
        overwrite: replace an earlier export that is there.
        terminal: where to show progress.

    Raises:
        RunError: the run has no model, or the output is there.
        WorkError: the vectors are too far from those that were measured.
    """
    terminal = terminal or Terminal()
    config = config_of_run(run)
    with claimed(output, "--output"), told_of_disk(output):
        refuse_if_taken(output, FIGURES, overwrite=overwrite)
        return _export(run, as_recorded(config, terminal), output, dtype, terminal)


def check_holdable(model: SentenceTransformer, dtype: Dtype) -> None:
    """Check that plain sentence-transformers can run a model whose weights are held in a dtype.

    Raises:
        ModelError: it holds a projection, which is read in float32 behind an encoder that isn't.
    """
    from sentence_transformers.base.modules import Dense

    if dtype in (Dtype.bfloat16, Dtype.float16) and any(isinstance(module, Dense) for module in model.modules()):
        raise ModelError(
            f"--dtype: {dtype}: the model has a projection (Dense), which sentence-transformers reads in float32 and"
            f" can't run behind an encoder in {dtype}. Write --dtype float32."
        )


def _export(run: RunFolder, config: Config, output: Path, dtype: Dtype, terminal: Terminal) -> Export:
    quiet_libraries(terminal)
    prepared = prepare_config(config, terminal, probed_datasets(config))
    model, precision = prepared.model, prepared.runtime.precision
    check_holdable(model, dtype)
    absorb_adapter(model, str(run.model))  # servers take whole models
    trusted = config.model.trust_remote_code
    with closing(SavedModelGate(model, prepared.rows, precision, trust_remote_code=trusted)) as gate:
        gate.prepare()
        measured = gate.embed()
        if dtype is not Dtype.auto:
            model.to(getattr(torch, dtype))
        held = dtype_name(model.dtype)
        record = (FIGURES, lambda found: Export(output, held, found).to_dict())
        with terminal.waiting(f"writing {output} in {held}"):
            found = write_compared(output, gate, config.matryoshka_dims, record, measured=measured, exported=held)
    terminal.say(f"gate: {found.sentence}")
    terminal.say(f"model: {output} ({held})")
    terminal.say(f"next: mmst eval {quoted(output)} --config {quoted(run.config)}")
    return Export(output, held, found)
