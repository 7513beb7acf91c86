"""The weights of a checkpoint, put into the model that is there: those of the best one at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sentence_transformers.base.modules import Module
from sentence_transformers.util import fullname
from transformers.trainer import TRAINER_STATE_NAME

from mmst_cli.errors import RunError, WorkError, first_line
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.terminal import Terminal
from mmst_cli.training.adapter_checkpoints import TRAINED, load_trained
from mmst_cli.training.resumed_state import told_of_damage
from mmst_cli.whole_checkpoints import damaged_file, is_whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from transformers import TrainerState


def load_weights(model: SentenceTransformer, checkpoint: Path) -> None:
    """Put the weights of a checkpoint into a model, each into the place that has its name.

    They are read on the host, so that the device needs room for one model only. What is frozen stays frozen, and the
    dtype and the device of each weight stay as they are.

    Raises:
        RuntimeError: the names or shapes differ.
        Exception: whatever the libraries raise about files that can't be read.
    """
    if (checkpoint / TRAINED).is_file():
        load_trained(model, checkpoint)
        return
    # The classes are those of the model in memory, which may be a user's own.
    classes = {fullname(module): type(module) for module in model.modules() if isinstance(module, Module)}
    saved = type(model)._load_with_module_classes(
        str(checkpoint), classes, device="cpu", trust_remote_code=model.trust_remote_code
    )
    model.load_state_dict(saved.state_dict())


def load_best(model: SentenceTransformer, state: TrainerState) -> None:
    """Put the weights of the best checkpoint into the model.

    Raises:
        WorkError: they can't be read; the model is as it was, or partly changed, and not worth saving.
    """
    checkpoint = Path(state.best_model_checkpoint)
    if not is_whole(checkpoint):
        raise WorkError(_not_loaded(checkpoint, "it is gone, or a file of it is missing or cut off"))
    if damaged := damaged_file(checkpoint):
        raise WorkError(_not_loaded(checkpoint, f"{damaged} is not what was saved"))
    try:
        load_weights(model, checkpoint)
    except Exception as error:  # safetensors, transformers and the modules raise what they like
        raise WorkError(_not_loaded(checkpoint, first_line(error))) from error


def best_so_far(run: RunFolder, checkpoint: Path) -> str | None:
    """Return the best checkpoint of a run that is resumed from ``checkpoint``, wherever the run's folder is now.

    Raises:
        RunError: it is gone; what comes after could only be called the best by mistake.
    """
    with told_of_damage(checkpoint):
        state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        recorded = state.get("best_model_checkpoint")
    if recorded is None:
        return None
    best = run.path / Path(recorded).name
    if not is_whole(best) or damaged_file(best):
        raise RunError(
            f"training.load_best_model_at_end: {best} was measured best, and is gone, damaged or not whole. Resume with"
            " training.load_best_model_at_end=false to keep the last model, or begin anew by --overwrite."
        )
    return str(best)


def no_best(state: TrainerState, run: RunFolder) -> str:
    """Return the sentence about a run whose best step was not saved, so that only others could be taken for it."""
    if state.best_global_step is None:
        return (
            "training.metric_for_best_model: it was a number in no evaluation, so that no checkpoint is the best. No"
            f" model was saved. The last one is kept by `mmst train {quoted(run.config)} --resume"
            " training.load_best_model_at_end=false`."
        )
    return (
        f"training.load_best_model_at_end: the model was measured best after step {state.best_global_step}, of which"
        " there is no checkpoint. No model was saved. Train with save_steps equal to eval_steps; the last one is kept"
        f" by `mmst train {quoted(run.config)} --resume training.load_best_model_at_end=false`."
    )


def warn_of_unsaved(args: SentenceTransformerTrainingArguments, terminal: Terminal) -> None:
    """Say before a run that its best step may be one that is not saved."""
    if args.load_best_model_at_end and args.save_strategy == "steps" and args.save_steps != args.eval_steps:
        terminal.warn(
            f"training.save_steps: {args.save_steps:g}, while every {args.eval_steps:g} steps are measured: the best of"
            " them may be one that isn't saved. Make them equal."
        )


def _not_loaded(checkpoint: Path, why: str) -> str:
    return (
        f"training.load_best_model_at_end: {checkpoint} was measured best and can't be loaded: {why.rstrip('.')}. No"
        " model was saved. The last one is kept by --resume training.load_best_model_at_end=false."
    )
