"""A folder with a model made of those of runs, which appears once its vectors were compared with those in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmst_cli.config.load import with_model
from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import RunError, WorkError
from mmst_cli.model.broken_weights import broken_weights
from mmst_cli.model.precision import dtype_name
from mmst_cli.model.served_layout import save_for_servers
from mmst_cli.output_claim import LOCK, check_writable
from mmst_cli.preparing.plain_probe import Embedded
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.runs import RunFolder
from mmst_cli.storage import bring_back_replaced, replace_folder, write_json


def config_of_run(run: RunFolder) -> Config:
    """Return the config of a run, with the model that it trained.

    Raises:
        RunError: it is no run, or has no model yet.
    """
    if not run.is_run():
        raise RunError(f"{run.path}: no run of `mmst train`. Name one; its config says what to compare vectors of.")
    if not (run.model / "modules.json").is_file():
        raise RunError(f"{run.path}: this run has no model yet. {run.way_to_model()}")
    return with_model(load_checked_config(run.config, (), for_training=False, for_mining=True), str(run.model))


def probed_datasets(config: Config) -> list[str]:
    """Return the names of the datasets that inputs are drawn from: those of evaluators, or all."""
    return list(dict.fromkeys(evaluator.dataset for evaluator in config.evaluators.values())) or list(config.datasets)


def refuse_if_taken(output: Path, record: str, *, overwrite: bool) -> None:
    """Raise a RunError where a folder can't be replaced, or holds something that may not be.

    Args:
        output: the folder, which is claimed.
        record: the file by which an earlier output of the command is known.
        overwrite: whether such an output may be replaced.
    """
    place, here = output.resolve(), Path.cwd().resolve()
    if place.is_mount() or place in (here, *here.parents):
        why = "a disk is mounted there" if place.is_mount() else "this command was started in it"
        raise RunError(f"--output: {output} can't be replaced by a new folder: {why}. Name a folder in it.")
    check_writable(place.parent, "--output")
    if not _holds_something(output):
        bring_back_replaced(output)
    if not _holds_something(output):
        return
    if not overwrite:
        raise RunError(f"--output: {output} holds something. Name another place, or add --overwrite.")
    if not (output / record).is_file():
        raise RunError(f"--overwrite: {output} was not written by this command ({record} isn't in it). Name another.")


def _holds_something(output: Path) -> bool:
    return any(entry.name != LOCK for entry in output.iterdir())


def write_compared(
    output: Path,
    gate: SavedModelGate,
    dims: Sequence[int],
    record: tuple[str, Callable[[GateResult], Any]],
    *,
    measured: Embedded | None = None,
    exported: str | None = None,
) -> GateResult:
    """Save the gate's model, compare it, and give the folder its name.

    Args:
        output: the folder.
        gate: compares what was saved with the model in memory.
        dims: the Matryoshka dimensions that it was trained at.
        record: name and content of a JSON file that tells what the folder is.
        measured: as :meth:`SavedModelGate.check` takes it.
        exported: likewise.

    Raises:
        WorkError: a weight is not finite, or the vectors are too far from those that were measured; nothing is left
            behind.
    """
    if name := broken_weights(gate.model):  # which may be that of a word that none of the compared inputs has
        held = dtype_name(gate.model.dtype)
        raise WorkError(f"nothing was written: weights in {name} are not finite in {held}. Take another dtype.")
    found: list[GateResult] = []

    def write(folder: Path) -> None:
        save_for_servers(gate.model, folder, dims)
        found.append(gate.check(folder, measured=measured, exported=exported))
        if not found[0].passed:
            raise WorkError(f"nothing was written: {found[0].sentence}")
        write_json(folder / record[0], record[1](found[0]))

    replace_folder(output, write)
    return found[0]
