"""What is measured of the model before and after it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmst_cli import processes
from mmst_cli.config.rules_evaluators import MEAN
from mmst_cli.errors import ConfigError, did_you_mean
from mmst_cli.evaluation.evaluation_output import save_evaluation_files
from mmst_cli.evaluation.evaluation_results import Evaluation, load_evaluation
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite, watched
from mmst_cli.evaluation.recommendation import advised
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.vectors.shared_encoding import shared_encoding

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BEFORE = ".before"  # suffix of the untrained model's results


class Measurements:
    """The evaluations of a run outside the trainer's steps.

    Args:
        model: the model that is trained.
        suite: its evaluators; may be none.
        run: where results go.
        terminal: where to show progress.
    """

    def __init__(self, model: SentenceTransformer, suite: EvaluatorSuite, run: RunFolder, terminal: Terminal) -> None:
        self.model, self.suite, self.run, self.terminal = model, suite, run, terminal
        self.before: dict[str, Evaluation] = {}

    def primary_keys(self) -> list[str]:
        """Return the keys of the evaluators' primary metrics, and of their mean, as the untrained model has them."""
        ours = f"{self.model.similarity_fn_name}_"  # the library's own name their similarity themselves
        keys = [
            f"{name}_{ours if name in self.suite.retrievals else ''}{evaluation.result.primary_metric}"
            for name, evaluation in self.before.items()
        ]
        return list(dict.fromkeys([*keys, MEAN] if len(keys) > 1 else keys))

    def evaluate_before(self) -> dict[str, float]:
        """Return the metrics of the untrained model; none where they were measured when a resumed run was begun."""
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

    def check_best_metric(self, trainer: RunTrainer, metrics: dict[str, float]) -> None:
        """Notice a best-model metric that nothing writes now, not at the first evaluation.

        Raises:
            ConfigError: nothing writes it.
        """
        wanted = str(trainer.args.metric_for_best_model or "").removeprefix("eval_")
        if metrics and wanted and not wanted.endswith("loss") and wanted not in metrics:
            raise ConfigError(
                f"training.metric_for_best_model: {wanted}: no evaluator writes it. There is "
                f"{', '.join(f'eval_{key}' for key in self.primary_keys())}.{did_you_mean(wanted, metrics)}"
            )

    def evaluate_after(self, trainer: RunTrainer) -> dict[str, Evaluation]:
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
