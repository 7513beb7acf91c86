"""Checkpoints of a run: saved whole, taken up with the settings that are asked for now."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformerTrainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState

from mmst_cli import processes
from mmst_cli.model.adapter_folder import save_model
from mmst_cli.model.determinism import told_of_missing_algorithms
from mmst_cli.model.merged_adapter import has_adapter
from mmst_cli.runs import RunFolder
from mmst_cli.training.adapter_checkpoints import save_trained
from mmst_cli.training.best_weights import best_so_far, load_best, load_weights
from mmst_cli.training.resumed_state import (
    AskedSettings,
    lacks_optimizer,
    load_loss_weights,
    save_loss_weights,
    told_of_damage,
)
from mmst_cli.whole_checkpoints import is_whole, mark_whole


class CheckpointTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """What of the trainer writes and reads checkpoints, of safetensors only.

    Args:
        write_card: writes a model card into a folder, in place of the generated one, which would decode
            rows and embed texts as media to describe them.
        steps: how many the run takes in all, for taking up one that had taken them.
        arguments: what SentenceTransformerTrainer takes.
    """

    def __init__(self, *, write_card: Callable[[Path], None], steps: int = 0, **arguments: Any) -> None:
        self.write_card, self.steps = write_card, steps
        self.warn: Callable[[str], None] = logging.getLogger(__name__).warning
        super().__init__(**arguments)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: the run has a card of its own."""

    def train(self, resume_from_checkpoint: str | None = None, **keywords: Any) -> Any:
        """Train, from a checkpoint if one is named; of a run that had taken all its steps take its last state.

        The library would take one step more, since it looks at how many there are only after each.

        Raises:
            RunError: the checkpoint is damaged.
            WorkError: full determinism is asked for, and an operation has no deterministic algorithm.
        """
        if resume_from_checkpoint is not None:
            with told_of_damage(Path(resume_from_checkpoint)):
                state = TrainerState.load_from_json(str(Path(resume_from_checkpoint, TRAINER_STATE_NAME)))
        if resume_from_checkpoint is None or not 0 < self.steps <= state.global_step:
            with told_of_missing_algorithms():
                return super().train(resume_from_checkpoint=resume_from_checkpoint, **keywords)
        self._load_from_checkpoint(resume_from_checkpoint)
        self.state = state
        if self.args.load_best_model_at_end:
            best = best_so_far(RunFolder(Path(self.args.output_dir)), Path(resume_from_checkpoint))
            self.state.best_model_checkpoint = best
            if self.state.best_model_checkpoint is not None:
                self._load_best_model()
        return None

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint, and only once all of it counts remove those that are older than are kept."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        processes.wait()  # until every process has written its part
        if self.args.should_save:
            run = RunFolder(Path(self.args.output_dir))
            mark_whole(run.path / f"checkpoint-{self.state.global_step}")
            run.drop_replaced()  # from here on --resume goes on with this run
            run.drop_old_checkpoints(limit, self.state.best_model_checkpoint)
        processes.wait()  # for others may look at once which checkpoints are whole

    def keep_last_step(self) -> None:
        """Save a checkpoint of the step that was taken last, unless there is one.

        None is saved where the model has the weights of the best step by now, or where it would take other processes.
        """
        last = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if processes.count() == 1 and not self.args.load_best_model_at_end and not is_whole(last):
            self._save_checkpoint(self.model, None)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # it is called in every process
            return
        folder = Path(output_dir or os.fspath(self.args.output_dir))
        save_model(self.model, folder)
        if has_adapter(self.model):
            save_trained(folder, self.model)
        save_loss_weights(folder, self.loss, self.model)
        self.write_card(folder)

    def _load_best_model(self) -> None:
        """Put the weights of the best checkpoint into the model that is there.

        Raises:
            WorkError: they can't be read; the last model is not taken in their place.
        """
        load_best(self.model, self.state)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        with told_of_damage(Path(checkpoint_path)):
            load_weights(self.model, Path(checkpoint_path))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with told_of_damage(Path(checkpoint or "")):
            super()._load_rng_state(checkpoint)

    def _load_scaler(self, checkpoint: str | None) -> None:
        with told_of_damage(Path(checkpoint or "")):
            super()._load_scaler(checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Take up the state of a checkpoint, with the settings that are asked for now.

        Raises:
            ConfigError: the weights of the loss are others than the loss has.
        """
        if checkpoint is None:
            return
        asked = AskedSettings(self.optimizer, self.lr_scheduler)
        folder = Path(checkpoint)
        with told_of_damage(folder):
            super()._load_optimizer_and_scheduler(checkpoint)
            if said := load_loss_weights(folder, self.loss, self.model):
                self.warn(said)
        alone = lacks_optimizer(folder)
        if alone:
            self.warn(
                f"{checkpoint} holds no state of the optimizer (training.save_only_model): its averages begin anew, so"
                " that the run ends with other weights than without the interruption."
            )
        if not (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            asked.apply(self.optimizer, self.lr_scheduler, self.state.global_step if alone else None)
        # Those of the checkpoint's own state would be kept otherwise.
        self.state.compute_steps(self.args, self.state.max_steps)
