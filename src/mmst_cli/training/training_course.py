"""The course of a training run: measure, train, measure again, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mmst_cli import processes
from mmst_cli.errors import DataError, Interrupted, WorkError
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.time_shares import add_up, in_shares
from mmst_cli.training.adapter_saving import adapter_settled
from mmst_cli.training.best_weights import best_so_far, no_best, warn_of_unsaved
from mmst_cli.training.endings import how_to_go_on, told_how_it_ended
from mmst_cli.training.finishing import finish
from mmst_cli.training.gated_saving import GateCallback, refuse_if_failed
from mmst_cli.training.loss import MatryoshkaMeter
from mmst_cli.training.masked_ranking import MaskMeter
from mmst_cli.training.stop_signals import StopCallback, StopSignals
from mmst_cli.training.time_account import advice
from mmst_cli.training.tracking import Tracking
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.training.trainer_batches import no_batch
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.training.training_progress import RunReporter
from mmst_cli.training.training_summary import TrainingResult, next_command, show_result
from mmst_cli.whole_checkpoints import checkpoint_step


class TrainingCourse:
    """Takes a job from its first measurement to the saved model."""

    def __init__(self, job: TrainingJob) -> None:
        self.job, self.run, self.terminal = job, job.run, job.terminal
        self.step = 0

    def follow(self, checkpoint: Path | None) -> TrainingResult:
        """Measure, train, from a checkpoint if one is given, measure again and save.

        Raises:
            WorkError: training failed on the way.
        """
        self.step = checkpoint_step(checkpoint) if checkpoint else 0
        try:
            with closing(self._open_gate()):
                return self._train_and_measure(checkpoint)
        except KeyboardInterrupt:
            self._say_interrupted()
            raise

    def _open_gate(self) -> SavedModelGate:
        """Draw what the saved model will be compared on, and keep what the model makes of it before it is trained."""
        job = self.job
        trusted = job.config.model.trust_remote_code
        at = job.config.model.revision
        self.gate = SavedModelGate(job.model, job.rows, job.precision, trust_remote_code=trusted, revision=at)
        if processes.is_first():
            self.gate.take_base()  # a run that is resumed loads its checkpoint only later
        self.steps_taken = GateCallback(self.gate)
        return self.gate

    def _train_and_measure(self, checkpoint: Path | None) -> TrainingResult:
        begun = time.perf_counter()
        job, measurements = self.job, self.job.measurements
        metrics = measurements.evaluate_before()
        losses = job.losses.values() if isinstance(job.losses, dict) else [job.losses]
        meters = MatryoshkaMeter(*losses), MaskMeter(*losses)
        reporter = RunReporter(self.run, self.terminal, *meters, measurements.primary_keys())
        trainer = job.build_trainer(self.run.path, [reporter, self.steps_taken])
        reporter.trainer, trainer.warn = trainer, self.terminal.warn
        if job.renewed is not None:
            job.renewed.apart = reporter.apart
        measurements.check_best_metric(trainer, metrics)
        warn_of_unsaved(trainer.args, self.terminal)
        tracking = Tracking(trainer, reporter, self.run, self.terminal)
        trainer.add_callback(tracking)
        with tracking.following(self.step):
            training_seconds = self._train(trainer, reporter, checkpoint)
            self._say_where_time_went(trainer)
            if job.renewed is not None:
                job.renewed.read_back()
            settled = self._settle(trainer)
            if settled is None:
                return TrainingResult(str(self.run.path), trainer.state.global_step, training_seconds, training_seconds)
            after, summary, saved = settled
            tracking.tell_results(job.suite.last_metrics)
            refuse_if_failed(self.run, saved)
        result = TrainingResult(
            run=str(self.run.path),
            steps=trainer.state.global_step,
            seconds=time.perf_counter() - begun,
            training_seconds=training_seconds,
            before=measurements.before,
            after=after,
            verdict=summary,
            next_command=next_command(self.run, after),
            found=job.found,
        )
        show_result(result, self.run, self.terminal)
        return result

    def _settle(self, trainer: RunTrainer) -> tuple[dict[str, Evaluation], str, GateResult] | None:
        """Measure the trained model and save it; return what it scored, the verdict, and what the gate found.

        None in other processes than the first.
        """
        job = self.job
        with _last_step_kept(trainer):
            for sentence in (*job.bad_rows.summary(), *job.remarks()):
                self.terminal.say(sentence)
            # A run that was resumed at its end takes no step.
            stays = not trainer.args.learning_rate if self.steps_taken.may_stay is None else self.steps_taken.may_stay
            with adapter_settled(job, self.gate, may_stay=stays) as figures:
                after = job.measurements.evaluate_after(trainer)
                if not processes.is_first():
                    return None
                return after, *finish(job, self.gate, after, may_stay=stays, figures=figures)

    def _train(self, trainer: RunTrainer, reporter: RunReporter, checkpoint: Path | None) -> float:
        """Train, and return the seconds it took, evaluations and checkpoints included."""
        begun = time.perf_counter()
        resumed = str(checkpoint) if checkpoint else None
        if checkpoint and trainer.args.load_best_model_at_end:
            reporter.best_so_far = best_so_far(self.run, checkpoint)
        try:
            with told_how_it_ended(self.job.config, self.run, trainer):
                with StopSignals() as stop:
                    trainer.add_callback(StopCallback(stop))
                    trainer.train(resume_from_checkpoint=resumed)
                trainer.check_weights()
            if not trainer.state.global_step:
                raise WorkError(no_batch(trainer))
            with _last_step_kept(trainer):
                if stop.asked:
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

    def _say_where_time_went(self, trainer: RunTrainer) -> None:
        if seconds := add_up(self.run.metric_lines()):
            self.terminal.say(f"time in training: {in_shares(seconds)}")
            if said := advice(seconds, trainer.args):
                self.terminal.say(said)

    def _say_interrupted(self) -> None:
        self.terminal.say(f"interrupted at step {self.step}. {how_to_go_on(self.run)}".strip())


@contextmanager
def _last_step_kept(trainer: RunTrainer) -> Iterator[None]:
    """Save a checkpoint of the last step, unless there is one, where what is done once all steps are taken fails."""
    try:
        yield
    except BaseException:
        with suppress(Exception):  # a disk that is full is so for it as well
            trainer.keep_last_step()
        raise
