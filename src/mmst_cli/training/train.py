"""`mmst train`: build and check everything a config declares, then train, measure and save."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from mmst_cli import processes
from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_evaluators import MEAN
from mmst_cli.config.rules_loss import training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, DataError, Interrupted, WorkError
from mmst_cli.evaluation.comparison import verdict
from mmst_cli.evaluation.evaluation_output import save_evaluation_files
from mmst_cli.evaluation.evaluation_results import Evaluation, load_evaluation
from mmst_cli.evaluation.evaluator_suite import PreparedEvaluation, prepare_evaluation, watched
from mmst_cli.evaluation.recommendation import advised
from mmst_cli.evaluation.report_page import write_page
from mmst_cli.mining.training_sets import check_minings, mine_training_sets
from mmst_cli.model.precision_of_run import with_environment
from mmst_cli.model.prompts import column_prompts
from mmst_cli.output_claim import check_writable, claimed
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.runs import RunFolder, checkpoint_step
from mmst_cli.storage import expand_home
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.training.best_weights import best_so_far, no_best, warn_of_unsaved
from mmst_cli.training.dry_run import try_batches
from mmst_cli.training.endings import how_to_go_on, told_how_it_ended
from mmst_cli.training.failed_run import told_of_failures
from mmst_cli.training.gated_saving import GateCallback, refuse_if_failed, save_as_measured
from mmst_cli.training.hub_upload import check_pushing, push_model
from mmst_cli.training.loss import MatryoshkaMeter, build_losses
from mmst_cli.training.mixing import loss_rows
from mmst_cli.training.model_card import model_card, write_card
from mmst_cli.training.model_warnings import model_warnings
from mmst_cli.training.one_device import idle_devices
from mmst_cli.training.rehearsal import rehearse
from mmst_cli.training.stop_signals import StopCallback, StopSignals
from mmst_cli.training.trainer import RunTrainer, no_batch
from mmst_cli.training.training_progress import RunReporter
from mmst_cli.training.training_start import build_arguments, check_machine, find_start, take_up
from mmst_cli.training.training_summary import TrainingResult, next_command, show_result
from mmst_cli.vectors.shared_encoding import serve_in, shared_encoding

BEFORE = ".before"  # suffix of the untrained model's results


def run_training(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    terminal: Terminal | None = None,
) -> TrainingResult:
    """Train as a config says; in each of several processes, where a launcher started them.

    Args:
        config: the whole config.
        overrides: the KEY=VALUE arguments it was loaded with, for the record.
        resume: go on from the last whole checkpoint of the run folder.
        overwrite: replace the run that is in the folder.
        dry_run: build and check everything, take one step of the training loop, write nothing.
        terminal: where to show progress; stderr if left out.

    Raises:
        MmstError: a mistake in config, data or model, before anything was written.
        WorkError: training failed on the way.
    """
    terminal = terminal or Terminal()
    config = with_environment(config, terminal)
    for warning in check_config(config):
        terminal.warn(warning)
    run = RunFolder(expand_home(config.output_dir))
    if dry_run:
        check_writable(run.path, "output_dir")
    with nullcontext() if dry_run else claimed(run.path, "output_dir"):
        return _run(config, run, overrides, terminal, resume=resume, overwrite=overwrite, dry_run=dry_run)


def _run(
    config: Config,
    run: RunFolder,
    overrides: Sequence[str],
    terminal: Terminal,
    *,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
) -> TrainingResult:
    quiet_libraries(terminal)
    # What the arguments and this machine refuse is reported before anything is loaded.
    if idle := idle_devices(check_machine(config).device):
        terminal.warn(idle)
    check_minings(config)
    build_arguments(config, run.path)
    check_pushing(config, terminal)
    processes.watch()
    with processes.first_before_others():  # it may put an earlier run back
        checkpoint = find_start(run, config, terminal, resume=resume, overwrite=overwrite, dry_run=dry_run)
    bad_rows = BadRows.of(config.datasets, terminal)
    if checkpoint is not None:
        bad_rows.read_back(run.skipped_rows)
    prepared = prepare_evaluation(config, terminal, list(config.datasets), bad_rows)
    job = _Job(config, run, prepared, terminal)
    with processes.first_before_others():
        job.mine()  # before the folder is touched: what is wrong with it leaves no run behind
    job.rehearse()
    if dry_run:
        return job.try_one_batch()
    with told_of_failures(run, terminal):
        with processes.first_before_others():
            if processes.is_first():
                _begin(config, run, overrides, terminal, prepared, checkpoint, overwrite=overwrite)
        return job.train(checkpoint)


def _begin(
    config: Config,
    run: RunFolder,
    overrides: Sequence[str],
    terminal: Terminal,
    prepared: PreparedEvaluation,
    checkpoint: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Write the record of a run, or take its folder up as a checkpoint left it."""
    if overwrite and run.set_aside():
        terminal.say(f"the run that is in {run.path} is kept until this one has a checkpoint, or is done.")
    if checkpoint is None:
        run.write_record(config_to_yaml(config), overrides, _devices(prepared))
    else:
        take_up(run, checkpoint, terminal)
    terminal.log_to(run.log)
    prepared.bad_rows.list_in(run.skipped_rows)


class _Job:
    """The parts of one training run, checked and ready."""

    def __init__(self, config: Config, run: RunFolder, prepared: PreparedEvaluation, terminal: Terminal) -> None:
        self.config, self.run, self.terminal = config, run, terminal
        self.model, self.rows, self.suite = prepared.model, prepared.rows, prepared.suite
        self.bad_rows = prepared.bad_rows
        self.precision = prepared.runtime.precision
        self.loss_rows = loss_rows(config, prepared.rows)
        self.losses = build_losses(config, self.model, self.loss_rows)
        self.before: dict[str, Evaluation] = {}
        self.step = 0
        self.row_keys: dict[str, Dataset] = {}
        serve_in(self.model, self.suite.precision)
        for warning in model_warnings(config, self.model):
            terminal.warn(warning)

    def mine(self) -> None:
        """Give the sets that say `mine:` their negatives, or take them from the cache."""
        if mined := mine_training_sets(self.config, self.rows, self.model, self.terminal):
            self.rows = {**self.rows, **mined}
            self.loss_rows = loss_rows(self.config, self.rows)

    def open_gate(self) -> SavedModelGate:
        """Draw what the saved model will be compared on, and keep what the model makes of it before it is trained."""
        trusted = self.config.model.trust_remote_code
        self.gate = SavedModelGate(self.model, self.rows, self.precision, trust_remote_code=trusted)
        if processes.is_first():
            self.gate.take_base()  # a run that is resumed loads its checkpoint only later
        self.steps_taken = GateCallback(self.gate)
        return self.gate

    def rehearse(self) -> None:
        """Try what the trainer would notice only once the run is begun."""
        rehearse(self.config, self.precision, self._build_trainer)

    def train(self, checkpoint: Path | None) -> TrainingResult:
        self.step = checkpoint_step(checkpoint) if checkpoint else 0
        try:
            with closing(self.open_gate()):
                return self._train_and_measure(checkpoint)
        except KeyboardInterrupt:
            self._say_interrupted()
            raise

    def _train_and_measure(self, checkpoint: Path | None) -> TrainingResult:
        begun = time.perf_counter()
        metrics = self._evaluate_before()
        losses = self.losses.values() if isinstance(self.losses, dict) else [self.losses]
        reporter = RunReporter(self.run, self.terminal, MatryoshkaMeter(*losses), list(self._primary_keys()))
        trainer = self._build_trainer(self.run.path, [reporter, self.steps_taken])
        reporter.trainer, trainer.warn = trainer, self.terminal.warn
        self._check_best_metric(trainer, metrics)
        warn_of_unsaved(trainer.args, self.terminal)
        training_seconds = self._train(trainer, reporter, checkpoint)
        for sentence in self.bad_rows.summary():
            self.terminal.say(sentence)
        after = self._evaluate_after(trainer)
        if not processes.is_first():
            processes.leave()
            return TrainingResult(
                str(self.run.path), trainer.state.global_step, training_seconds, training_seconds, {}, {}, "", ""
            )
        result = self._finish(trainer, after, begun, training_seconds)
        show_result(result, self.run, self.terminal)
        processes.leave()
        if self.config.training.get("push_to_hub"):
            push_model(self.config, self.run, self.terminal)
        return result

    def try_one_batch(self) -> TrainingResult:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._build_trainer(Path(folder), [])
            with told_how_it_ended(self.config, None, trainer):
                sentence = try_batches(trainer)
        self.terminal.show(sentence)
        command = "the same command without --dry-run"
        return TrainingResult(
            str(self.run.path), 0, time.perf_counter() - begun, 0.0, {}, {}, sentence, command, dry_run=True
        )

    def _build_trainer(self, folder: Path, callbacks: list[Any]) -> RunTrainer:
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
            write_card=lambda target: write_card(target, self._card({}, "")),
            bad_rows=self.bad_rows,
            keys=self.row_keys,
        )

    def _card(self, after: dict[str, Evaluation], summary: str, saved: str = "") -> str:
        yaml = config_to_yaml(self.config)
        return model_card(self.config, yaml, self.rows, self.before, after, summary, saved)

    def _primary_keys(self) -> dict[str, None]:
        ours = f"{self.model.similarity_fn_name}_"  # the library's own name their similarity themselves
        keys = [
            f"{name}_{ours if name in self.suite.retrievals else ''}{evaluation.result.primary_metric}"
            for name, evaluation in self.before.items()
        ]
        return dict.fromkeys([*keys, MEAN] if len(keys) > 1 else keys)

    def _evaluate_before(self) -> dict[str, float]:
        """Measure the untrained model, or read what was measured when a resumed run was begun."""
        saved = {name: self.run.evaluations / f"{name}{BEFORE}.json" for name in self.suite.evaluators}
        if processes.share(bool(saved) and all(path.is_file() for path in saved.values())):
            if processes.is_first():
                self.before = {name: load_evaluation(path) for name, path in saved.items()}
            return {}
        if not saved:
            return {}
        with shared_encoding(self.model) as asks:
            return self._measure_before() if asks else {}

    def _measure_before(self) -> dict[str, float]:
        with watched(self.suite, self.terminal, "before training"):
            metrics = self.suite(self.model, steps=0)
        self.before = dict(self.suite.evaluations)
        for evaluation in self.before.values():
            save_evaluation_files(evaluation, self.suite, self.run.evaluations, BEFORE)
        self.run.log_metrics({"step": 0, "epoch": 0.0, **{f"eval_{k}": v for k, v in metrics.items()}})
        return metrics

    def _check_best_metric(self, trainer: RunTrainer, metrics: dict[str, float]) -> None:
        """Notice a best-model metric that nothing writes now, not at the first evaluation."""
        wanted = str(trainer.args.metric_for_best_model or "").removeprefix("eval_")
        if metrics and wanted and not wanted.endswith("loss") and wanted not in metrics:
            raise ConfigError(
                f"training.metric_for_best_model: {wanted}: no evaluator writes it. There is "
                f"{', '.join(f'eval_{key}' for key in self._primary_keys())}; all are in {self.run.metrics}."
            )

    def _train(self, trainer: RunTrainer, reporter: RunReporter, checkpoint: Path | None) -> float:
        """Train, and return the seconds it took, evaluations and checkpoints included."""
        begun = time.perf_counter()
        resumed = str(checkpoint) if checkpoint else None
        if checkpoint and trainer.args.load_best_model_at_end:
            reporter.best_so_far = best_so_far(self.run, checkpoint)
        try:
            with told_how_it_ended(self.config, self.run, trainer):
                with StopSignals() as stop:
                    trainer.add_callback(StopCallback(stop))
                    trainer.train(resume_from_checkpoint=resumed)
                trainer.check_weights()
            if not trainer.state.global_step:
                raise WorkError(no_batch(trainer))
            if stop.asked and self.run.checkpoints():
                raise Interrupted(stop.asked)
        except DataError as error:
            reporter.close()
            self.step = trainer.state.global_step
            self._say_interrupted()
            raise WorkError(str(error)) from error
        finally:
            reporter.close()
            self.step = trainer.state.global_step
        if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is None:
            raise WorkError(no_best(trainer.state, self.run))
        return time.perf_counter() - begun

    def _say_interrupted(self) -> None:
        self.terminal.say(f"interrupted at step {self.step}. {how_to_go_on(self.run)}".strip())

    def _evaluate_after(self, trainer: RunTrainer) -> dict[str, Evaluation]:
        """Measure the final model, unless the last step's evaluation just did."""
        measured = self.suite.last_step == trainer.state.global_step and not trainer.args.load_best_model_at_end
        if self.suite.evaluators and not processes.share(measured):
            with shared_encoding(self.model) as asks:
                if asks:
                    self._measure_after(trainer)
        self.suite.model_name = str(self.run.model)
        return advised(self.suite.evaluations)

    def _measure_after(self, trainer: RunTrainer) -> None:
        with watched(self.suite, self.terminal, "after training"):
            metrics = self.suite(self.model, steps=trainer.state.global_step)
        record = {"step": trainer.state.global_step, "epoch": trainer.state.epoch, "final": True}
        self.run.log_metrics({**record, **{f"eval_{k}": v for k, v in metrics.items()}})

    def _finish(
        self, trainer: RunTrainer, after: dict[str, Evaluation], begun: float, training_seconds: float
    ) -> TrainingResult:
        for name, evaluation in after.items():
            save_evaluation_files(evaluation, self.suite, self.run.evaluations, before=self.before.get(name))
        summary = verdict(self.before, after)
        saved = self._save(trainer, after, summary)
        if saved.passed:
            self.run.drop_replaced()
        write_page(
            self.run.report,
            self.config,
            self.rows,
            self.suite,
            verdict=summary,
            before=self.before,
            after=after,
            run=self.run,
        )
        refuse_if_failed(self.run, saved)
        return TrainingResult(
            run=str(self.run.path),
            steps=trainer.state.global_step,
            seconds=time.perf_counter() - begun,
            training_seconds=training_seconds,
            before=self.before,
            after=after,
            verdict=summary,
            next_command=next_command(self.run, after),
        )

    def _save(self, trainer: RunTrainer, after: dict[str, Evaluation], summary: str) -> GateResult:
        stays = self.steps_taken.may_stay
        result = save_as_measured(
            self.run,
            self.gate,
            lambda folder: self.model.save_pretrained(str(folder), create_model_card=False),
            lambda folder, found: write_card(folder, self._card(after, summary, found.sentence)),
            # A run that was resumed at its end takes no step.
            may_stay=not trainer.args.learning_rate if stays is None else stays,
        )
        self.terminal.say(f"gate: {result.sentence}")
        return result


def _devices(prepared: PreparedEvaluation) -> list[str]:
    if not torch.cuda.is_available() or prepared.model.device.type == "cpu":
        return [f"cpu, {torch.get_num_threads()} threads"]
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
