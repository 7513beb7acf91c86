"""Progress of an evaluation outside training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from mmst_cli.evaluation.build import Evaluator, EvaluatorSuite
from mmst_cli.evaluation.retrieval import MatryoshkaRetrievalEvaluator
from mmst_cli.terminal import Terminal


@contextmanager
def watched(suite: EvaluatorSuite, terminal: Terminal, when: str) -> Iterator[None]:
    """Show how far an evaluation is, on a terminal; say what it took in the end, everywhere."""
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    bar = Progress(*columns, console=terminal.console, transient=True, disable=not terminal.is_interactive)

    def follow(name: str, evaluator: Evaluator) -> None:
        if isinstance(evaluator, MatryoshkaRetrievalEvaluator):
            task = bar.add_task(f"evaluating {name} {when}", total=evaluator.inputs)
            evaluator.on_encoded = lambda count: bar.advance(task, count)
        else:
            bar.add_task(f"evaluating {name} {when}", total=None)

    begun = time.perf_counter()
    suite.before_evaluator = follow
    try:
        with bar:
            yield
    finally:
        suite.before_evaluator = None
        for evaluator in suite.retrievals.values():
            evaluator.on_encoded = None
    results = {name: evaluation.result for name, evaluation in suite.evaluations.items()}
    scores = [f"{name} {result.primary_metric} {result.primary(result.full):.4f}" for name, result in results.items()]
    terminal.say(f"evaluation {when}: {', '.join(scores)} ({time.perf_counter() - begun:.1f} s)")
    for name, result in results.items():
        if result.duplicates:
            terminal.say(f"{name}: {result.duplicates:,} documents are identical to others and count once")
