"""Evaluators from the config, and all of them as the one that the trainer calls; their progress outside training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from sentence_transformers.sentence_transformer.evaluation import BaseEvaluator

from mmst_cli.config.rules_evaluators import MEAN
from mmst_cli.config.schema import Config, EvaluatorConfig
from mmst_cli.errors import ConfigError, WorkError, first_line, is_memory_shortage
from mmst_cli.evaluation.evaluation_results import Evaluation
from mmst_cli.evaluation.library_evaluators import LibraryEvaluator
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.model.load_model import model_label
from mmst_cli.model.precision import Precision
from mmst_cli.preparing.prepared_config import Prepared, prepare_config
from mmst_cli.retrieval.data_card import Rows
from mmst_cli.retrieval.retrieval_set import RetrievalSet, RowRetrieval
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.columns import RowSet
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.data_workers import Workers, workers_of
from mmst_cli.vectors.fitting_batches import MemoryShortageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Evaluator = MatryoshkaRetrievalEvaluator | LibraryEvaluator


def build_evaluator(
    name: str,
    config: EvaluatorConfig,
    rows: RowSet | RetrievalSet,
    precision: Precision,
    workers: Workers | None = None,
) -> Evaluator:
    """Build one evaluator from its section and its dataset.

    Args:
        name: its name.
        config: its section.
        rows: its dataset.
        precision: of forward passes.
        workers: processes that prepare inputs; chosen by what preparing costs if left out.

    Raises:
        ConfigError: the class refuses its arguments.
    """
    try:
        if config.type != MatryoshkaRetrievalEvaluator.__name__:
            return LibraryEvaluator(config.type, rows, config.dims, name=name, **config.args)
        return MatryoshkaRetrievalEvaluator(
            RowRetrieval(rows) if isinstance(rows, RowSet) else rows,
            config.dims,
            precisions=config.precisions,
            deduplicate=config.deduplicate,
            name=name,
            precision=precision,
            workers=workers,
            **config.args,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"evaluators.{name}.args: {config.type}: {error}") from error


class EvaluatorSuite(BaseEvaluator):  # type: ignore[misc]
    """All evaluators of a config, the model's forward passes in the precision of the run and the rest in float32.

    The trainer calls it like any evaluator; :attr:`evaluations` and :attr:`last_metrics` keep what was found last.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator], precision: Precision, model_name: str) -> None:
        super().__init__()
        self.evaluators = dict(evaluators)
        self.precision = precision
        self.model_name = model_name
        self.last_step: int | None = None
        self.last_metrics: dict[str, float] = {}
        self.before_evaluator: Callable[[str, Evaluator], None] | None = None

    def __call__(
        self, model: SentenceTransformer, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Run every evaluator and return all metrics. Nothing is written: the run folder has its own layout.

        Where there are several, ``mean`` is the mean of their primary metrics at the full dimension in float32.
        """
        metrics: dict[str, float] = {}
        for name, evaluator in self.evaluators.items():
            if self.before_evaluator:
                self.before_evaluator(name, evaluator)
            with _advised_on_memory(name), self.precision.forward_of(model):
                metrics |= evaluator(model, None, epoch, steps)
        self.last_step = steps
        found = [evaluation.result for evaluation in self.evaluations.values()]
        if len(found) > 1:
            metrics[MEAN] = fmean(result.primary(result.full) for result in found)
        self.last_metrics = dict(metrics)  # the trainer puts a prefix before those that it gets
        return metrics

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """What each evaluator found last, under the model's name."""
        found = {name: evaluator.evaluation for name, evaluator in self.evaluators.items() if evaluator.evaluation}
        return {
            name: replace(evaluation, result=replace(evaluation.result, model=self.model_name))
            for name, evaluation in found.items()
        }

    @property
    def retrievals(self) -> dict[str, MatryoshkaRetrievalEvaluator]:
        """The evaluators of ours."""
        return {n: e for n, e in self.evaluators.items() if isinstance(e, MatryoshkaRetrievalEvaluator)}


@contextmanager
def _advised_on_memory(name: str) -> Iterator[None]:
    """Say of memory that is too small for an evaluation what to lower: while training it is not the loss's batch."""
    size = f"evaluators.{name}.args.batch_size"
    try:
        yield
    except MemoryShortageError as error:
        raise WorkError(
            f"{size}: {error}. Lower model.processor.max_pixels or what media are read at, write"
            " model.dtype=bfloat16, or free the device."
        ) from error
    except Exception as error:
        if not is_memory_shortage(error):
            raise
        raise WorkError(
            f"evaluators.{name}: out of memory: {first_line(error)}. Lower {size}, or evaluate fewer rows"
            " (max_rows of its dataset)."
        ) from error


@contextmanager
def watched(suite: EvaluatorSuite, terminal: Terminal, when: str) -> Iterator[None]:
    """Show how far an evaluation is; say what it took in the end."""
    shown = ExitStack()

    def follow(name: str, evaluator: Evaluator) -> None:
        shown.close()  # the one before is done
        retrieval = evaluator if isinstance(evaluator, MatryoshkaRetrievalEvaluator) else None
        inputs = retrieval.inputs if retrieval else None
        progress = shown.enter_context(terminal.progress(f"evaluating {name} {when}", inputs, unit="inputs"))
        if retrieval:
            retrieval.on_encoded = progress.advance

    begun = time.perf_counter()
    suite.before_evaluator = follow
    try:
        with shown:
            yield
    finally:
        suite.before_evaluator = None
        for evaluator in suite.retrievals.values():
            evaluator.on_encoded = None
    results = {name: evaluation.result for name, evaluation in suite.evaluations.items()}
    scores = [f"{name} {result.primary_metric} {result.primary(result.full):.4f}" for name, result in results.items()]
    terminal.say(f"evaluation {when}: {', '.join(scores)} ({time.perf_counter() - begun:.1f} s)")
    for name, result in results.items():
        retrieval = suite.retrievals[name].retrieval if name in suite.retrievals else None
        if isinstance(retrieval, RowRetrieval) and retrieval.repeats:
            told = (
                "row repeats the query of an earlier one and is an answer"
                if retrieval.repeats == 1
                else ("rows repeat the query of an earlier one and are answers")
            )
            terminal.say(f"{name}: {retrieval.repeats:,} {told} to it too")
        if result.duplicates:
            told = "document is" if result.duplicates == 1 else "documents are"
            terminal.say(f"{name}: {result.duplicates:,} {told} identical to others and count once")


@dataclass(frozen=True)
class PreparedEvaluation(Prepared):
    """A config's data and model, and its evaluators."""

    suite: EvaluatorSuite


def prepare_evaluation(
    config: Config,
    terminal: Terminal,
    datasets: Sequence[str],
    bad_rows: BadRows | None = None,
    check: Callable[[Mapping[str, Rows]], object] | None = None,
) -> PreparedEvaluation:
    """Prepare data and model as :func:`prepare_config` does, by the same arguments, and the evaluators.

    Raises:
        MmstError: the first thing that doesn't fit.
    """
    prepared = prepare_config(config, terminal, datasets, bad_rows, check)
    precision, workers = prepared.runtime.precision, workers_of(config.training)
    evaluators = {
        name: build_evaluator(name, section, prepared.rows[section.dataset], precision, workers)
        for name, section in config.evaluators.items()
    }
    suite = EvaluatorSuite(evaluators, precision, model_label(config.model))
    return PreparedEvaluation(prepared.model, prepared.runtime, prepared.rows, prepared.bad_rows, suite)
