"""`report_to`: what trackers get of a run, from the scores of the untrained model to the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import copy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from mmst_cli import processes
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, first_line
from mmst_cli.run_environment import without_secret
from mmst_cli.runs import RunFolder
from mmst_cli.storage import read_json, write_json
from mmst_cli.terminal import Terminal
from mmst_cli.training.argument_faults import told_by_key
from mmst_cli.training.trackers import FAILED, STOPPED, SUCCEEDED, MLflow, TensorBoard, Tracker, Trackio, WandB

if TYPE_CHECKING:
    from mmst_cli.training.trainer import RunTrainer
    from mmst_cli.training.training_progress import RunReporter

KINDS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow, "trackio": Trackio}
"""The trackers that there is an extra for, by their names."""
_EVENTS = ("on_train_begin", "on_log", "on_train_end")
"""What callbacks are told here and not by the trainer: a tracker's run ends later than training."""


def check_trackers(config: Config, arguments: TrainingArguments) -> None:
    """See before anything is loaded that the trackers are there.

    Raises:
        ConfigError: one isn't, or nobody is logged in to it.
    """
    with told_by_key(config.training, "report_to"):
        for name in arguments.report_to:
            if name not in INTEGRATION_TO_CALLBACK:
                known = ", ".join(INTEGRATION_TO_CALLBACK)
                raise ConfigError(f"training.report_to: {name} is not supported. There is {known}.")
            kind = INTEGRATION_TO_CALLBACK[name]
            try:
                # Where its package is missing it is never whole, and MLflow's would then fail once more while it goes.
                type(kind.__name__, (kind,), {"__del__": lambda _: None})()
            except (RuntimeError, ImportError) as error:
                if name not in KINDS or find_spec(name) is not None:
                    raise
                raise ConfigError(
                    f"training.report_to: found {name}, which isn't installed: pip install 'mmst-cli[{name}]'. Or leave"
                    " it out."
                ) from error
        if "wandb" in arguments.report_to and processes.is_first() and not _may_log_to_wandb():
            raise ConfigError(
                "training.report_to: found wandb, but nobody is logged in to it here. Log in by `wandb login`, set"
                " WANDB_MODE=offline in the environment to write to this machine alone, or leave it out."
            )


def _may_log_to_wandb() -> bool:
    """Whether a run can begin; otherwise it would ask for a key in the middle of ours."""
    import wandb

    os.environ.setdefault("WANDB_PROJECT", "sentence-transformers")  # as that does, but after wandb has looked at it
    settings = wandb.setup().settings
    with redirect_stdout(sys.stderr):
        return bool(settings._noop or settings._offline or wandb.login(prompt=False))


class Tracking(TrainerCallback):  # type: ignore[misc]
    """The trackers of a run, for as long as it lasts; the first of several processes alone tells them.

    They get the steps and evaluations of metrics.jsonl as they come, named as transformers' callbacks do; at the end
    ``eval/final/...`` of the saved model, and the report.

    Args:
        trainer: what trains, whose callbacks for trackers are told from here on.
        reporter: has the line of metrics.jsonl that a log became.
        run: the run.
        terminal: where to say what trackers do.
    """

    def __init__(self, trainer: RunTrainer, reporter: RunReporter, run: RunFolder, terminal: Terminal) -> None:
        self.trainer, self.reporter, self.run, self.terminal = trainer, reporter, run, terminal
        self.trackers: list[Tracker] = []
        for name in trainer.args.report_to:
            kind = INTEGRATION_TO_CALLBACK[name]
            for callback in [one for one in trainer.callback_handler.callbacks if type(one) is kind]:
                for event in _EVENTS:
                    setattr(callback, event, lambda *_, **__: None)
                if processes.is_first():
                    self.trackers.append(KINDS.get(name, Tracker)(name, callback, run))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Tell what the trainer logs, and what else metrics.jsonl has of it."""
        for tracker in list(self.trackers if logs else ()):
            self._tell(tracker, {**(logs or {}), **self.reporter.line})

    @contextmanager
    def following(self, step: int) -> Iterator[None]:
        """Begin a run in each tracker, or go on with the one of before, and end it as the context ends.

        Args:
            step: the one that the run goes on from.

        Raises:
            ConfigError: a tracker can't begin.
        """
        code = FAILED
        try:
            self._begin(step)
            yield
            code = SUCCEEDED
        except KeyboardInterrupt:
            code = STOPPED
            raise
        finally:
            for tracker in list(self.trackers):
                with self._left_out_where_it_fails(tracker):
                    if code == SUCCEEDED:
                        self._event(tracker, "on_train_end")
                    tracker.end(code)

    def tell_results(self, scores: Mapping[str, float]) -> None:
        """Tell what the final model scored, and hand over the report.

        Args:
            scores: by the names that they have in metrics.jsonl, without ``eval_``.
        """
        for tracker in list(self.trackers):
            self._tell(tracker, {f"eval_final/{name}": score for name, score in scores.items()})
        for tracker in list(self.trackers):
            with self._left_out_where_it_fails(tracker):
                tracker.keep(self.run.report)

    def _begin(self, step: int) -> None:
        known, trackers, self.trackers = read_json(self.run.trackers), self.trackers, []
        for tracker in trackers:
            before = known.get(tracker.name, {})
            with told_by_key({"report_to": tracker.name}, "report_to"), _secrets_hidden():
                with tracker.beginning(self.trainer.args, before, step) as goes_on:
                    self._event(tracker, "on_train_begin")
                self.trackers.append(tracker)
                known[tracker.name] = tracker.known()
                if where := tracker.where():
                    self.terminal.say(f"{tracker.name}: {where}")
            for line in [] if goes_on else self.run.metric_lines():
                self._tell(tracker, line, step=line["step"])
        if self.trackers:
            write_json(self.run.trackers, known)

    def _tell(self, tracker: Tracker, line: Mapping[str, Any], step: int | None = None) -> None:
        """Tell a line of metrics.jsonl, or what is to become one."""
        figures = dict(_figures({name: value for name, value in line.items() if name != "step"}))
        with self._left_out_where_it_fails(tracker):
            if figures:
                self._event(tracker, "on_log", step=step, logs=figures)

    def _event(self, tracker: Tracker, event: str, step: int | None = None, **given: Any) -> None:
        state = copy(self.trainer.state)
        state.global_step = state.global_step if step is None else step
        told = getattr(type(tracker.callback), event)  # not the instance's, which does nothing
        with redirect_stdout(sys.stderr):
            told(tracker.callback, self.trainer.args, state, self.trainer.control, model=self.trainer.model, **given)

    @contextmanager
    def _left_out_where_it_fails(self, tracker: Tracker) -> Iterator[None]:
        """Go on without a tracker that fails: the run folder has all that it would have got."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:
            self.trackers.remove(tracker)
            self.terminal.warn(
                f"training.report_to: {tracker.name} failed at step {self.trainer.state.global_step} and is told no"
                f" more: {first_line(error).rstrip('.')}. All figures are in {self.run.metrics}."
            )


def _figures(line: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a line of metrics.jsonl, those of a mapping as ``loss_per_dim/128``."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{before}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{name}", value


@contextmanager
def _secrets_hidden() -> Iterator[None]:
    """Hide tokens of the command line, which trackers write down."""
    arguments = sys.argv
    sys.argv = [without_secret(argument) for argument in arguments]
    try:
        yield
    finally:
        sys.argv = arguments
