"""The parts of one training run, checked and ready."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from mmst_cli.config.automatic_sizes import size_key, with_sizes
from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.evaluation.evaluator_suite import PreparedEvaluation
from mmst_cli.mining.mined_sets import MinedSet
from mmst_cli.mining.training_sets import mine_training_sets
from mmst_cli.model.adapter_folder import save_model
from mmst_cli.model.merged_adapter import has_adapter
from mmst_cli.model.prompts import column_prompts
from mmst_cli.model.served_layout import save_for_servers
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.labels import check_widths
from mmst_cli.rows.row_keys import rows_identity
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.training.announced_run import announced
from mmst_cli.training.dry_run import try_batches
from mmst_cli.training.endings import told_how_it_ended
from mmst_cli.training.loss import build_losses
from mmst_cli.training.loss_models import check_guides
from mmst_cli.training.measurements import Measurements
from mmst_cli.training.mini_batches import check_automatic, find_sizes
from mmst_cli.training.mixing import loss_rows
from mmst_cli.training.model_card import model_card, write_card
from mmst_cli.training.model_warnings import model_warnings
from mmst_cli.training.rehearsal import Rehearsal, rehearse
from mmst_cli.training.renewed_negatives import RenewedNegatives
from mmst_cli.training.rows_left_over import tell_rows_left_over
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.training.training_start import build_arguments
from mmst_cli.training.training_summary import TrainingResult
from mmst_cli.vectors.data_workers import Cost, workers_of
from mmst_cli.vectors.shared_encoding import serve_in

LOOKED_AT = 1_000  # rows of a dataset of which media are looked at, to notice that they changed


class TrainingJob:
    """What a config declares, built, and what is made of it.

    Args:
        config: the whole config.
        run: the folder of the run; nothing is written into it here.
        prepared: its rows, model and evaluators.
        terminal: where to warn and to show progress.
    """

    def __init__(self, config: Config, run: RunFolder, prepared: PreparedEvaluation, terminal: Terminal) -> None:
        self.config, self.run, self.terminal = config, run, terminal
        self.model, self.rows, self.suite = prepared.model, prepared.rows, prepared.suite
        self.bad_rows = prepared.bad_rows
        self.precision = prepared.runtime.precision
        self.loss_rows = loss_rows(config, prepared.rows)
        check_automatic(config, self.model)
        self._check_teachers()
        self.losses = build_losses(config, self.model, self.loss_rows)
        check_guides(config, self.losses, self.loss_rows)
        self.measurements = Measurements(self.model, self.suite, run, terminal)
        self.row_keys: dict[str, Dataset] = {}
        self.costs: dict[str, Cost] | None = {} if workers_of(config.training) is None else None
        self.rehearsed = Rehearsal()
        self.steps = 0
        """How many the run takes, once it was rehearsed."""
        self.sizes: dict[str, int] = {}
        """What `mini_batch_size: auto` was found to be, by the dotted key of the loss, once it was rehearsed."""
        self.renewed: RenewedNegatives | None = None
        """What mines again in training, once negatives were mined before it."""
        serve_in(self.model, self.suite.precision)
        for warning in model_warnings(config, self.model):
            terminal.warn(warning)

    def _check_teachers(self) -> None:
        """Check that the vectors that a teacher gave can be compared with the model's.

        Raises:
            ConfigError: they can't.
        """
        keys, dimension = loss_keys(self.config), int(self.model.get_embedding_dimension() or 0)
        checked = [
            check_widths(r, loss_layers(self.config, keys[n]), keys[n], dimension) for n, r in self.loss_rows.items()
        ]
        if faults := [fault for found in checked for fault in found]:
            raise ConfigError(*faults)

    def mine(self) -> None:
        """Give the sets that say `mine:` their negatives, or take them from the cache."""
        if mined := mine_training_sets(self.config, self.rows, self.model, self.terminal):
            self._put_mined(mined)
            self.renewed = RenewedNegatives(self.config, self.run, self.model, mined, self._put_mined, self.terminal)

    def _put_mined(self, mined: Mapping[str, MinedSet]) -> dict[str, RowSet]:
        """Give sets their negatives, and return their rows as they are trained on."""
        self.rows = {**self.rows, **{key: one.with_negatives() for key, one in mined.items()}}
        self.loss_rows = loss_rows(self.config, self.rows)
        return {key: self.loss_rows[key] for key in mined}

    def remarks(self) -> list[str]:
        """Return a sentence for each thing that was done to the rows of a set."""
        sets = ((name, rows) for name, rows in self.rows.items() if isinstance(rows, RowSet))
        return [f"data: {name}: {remark}." for name, rows in sets for remark in rows.remarks]

    def rehearse(self) -> None:
        """Try what the trainer would notice only once the run is begun."""
        self.rehearsed = rehearse(self.config, self.precision, self.build_trainer, self._look_further)
        self.steps = self.rehearsed.steps
        if self.sizes:
            self.config = with_sizes(self.config, self.sizes)

    def announce(self) -> None:
        """Say what the run will take, as far as it is known by now."""
        for line in announced(self, build_arguments(self.config, self.run.path)):
            self.terminal.say(line)

    def _look_further(self, trainer: RunTrainer) -> None:
        if self.renewed is not None and self.renewed.every:
            self.renewed.check(trainer.count_epochs())
        training = {name: self.loss_rows[name] for name in training_datasets(self.config)}
        keys, args = trainer.keys, trainer.args
        for warning in tell_rows_left_over(self.config, training, keys, args, args.world_size):
            self.terminal.warn(warning)
        self.sizes = find_sizes(self.config, self.precision, trainer, self.terminal.say)

    @property
    def found(self) -> dict[str, int]:
        """What was found, by its dotted key in the config."""
        return {size_key(key): size for key, size in self.sizes.items()}

    def name_rows(self) -> dict[str, str]:
        """Return what names the rows of each dataset by content and order; nothing of a stream."""
        found = {}
        for name, rows in self.rows.items():
            sets = [rows] if isinstance(rows, RowSet) else [rows.query_rows, rows.corpus_rows]
            if not any(one.is_stream for one in sets):
                found[name] = "; ".join(rows_identity(one, LOOKED_AT) for one in sets)
        return found

    def try_one_batch(self) -> TrainingResult:
        """Take one step of the training loop and write nothing: a dry run."""
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trainer = self.build_trainer(Path(folder), [])
            with told_how_it_ended(self.config, None, trainer):
                sentence = try_batches(trainer)
        self.terminal.show(sentence)
        seconds, command = time.perf_counter() - begun, "the same command without --dry-run"
        return TrainingResult(
            str(self.run.path), 0, seconds, 0.0, verdict=sentence, next_command=command, dry_run=True, found=self.found
        )

    def build_trainer(self, folder: Path, callbacks: list[Any]) -> RunTrainer:
        """Return the trainer, which writes into ``folder``."""
        training = training_datasets(self.config)
        evaluated = [rows for key, rows in self.loss_rows.items() if key not in training]
        arguments = build_arguments(self.config, folder)
        if not evaluated and not self.suite.evaluators:
            arguments.eval_strategy = "no"
        return RunTrainer(
            model=self.model,
            args=arguments,
            train=[self.loss_rows[key] for key in training],
            evaluated=evaluated,
            loss=self.losses,
            prompts=column_prompts(self.config, self.loss_rows),
            evaluator=self.suite if self.suite.evaluators else None,
            callbacks=callbacks,
            write_card=lambda target: write_card(target, self.card({}, "")),
            bad_rows=self.bad_rows,
            keys=self.row_keys,
            costs=self.costs,
            steps=self.steps,
            renewed=self.renewed,
        )

    def save(self, folder: Path) -> None:
        """Write the model into a folder, without a card."""
        save_model(self.model, folder)

    def save_served(self, folder: Path) -> None:
        """Write the model as servers read it, where it isn't an adapter by itself."""
        if has_adapter(self.model):
            self.save(folder)
        else:
            save_for_servers(self.model, folder, self.config.matryoshka_dims)

    def card(
        self,
        after: Mapping[str, Evaluation],
        summary: str,
        saved: str = "",
        serving: str = "",
        *,
        adapter: bool | None = None,
    ) -> str:
        """Return the model card: what was reached (nothing yet, in a checkpoint), and what the gate found.

        Args:
            after: what was measured.
            summary: the verdict.
            saved: what the gate found.
            serving: how it is served.
            adapter: whether it is of an adapter by itself; as the model is if left out.
        """
        alone = has_adapter(self.model) if adapter is None else adapter
        before, yaml = self.measurements.before, config_to_yaml(self.config)
        return model_card(self.config, yaml, self.rows, before, after, summary, saved, serving, adapter=alone)
