"""A few real steps of training and a real evaluation on this machine, timed, and the memory that they took."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import DefaultFlowCallback

from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator, read_with_digest
from mmst_cli.rows.stored_inputs import StoredInput
from mmst_cli.sources.tables import choose_indices
from mmst_cli.terminal import Terminal
from mmst_cli.training.endings import told_how_it_ended
from mmst_cli.training.training_job import TrainingJob
from mmst_cli.vectors.forward_pass import Task
from mmst_cli.vectors.input_stream import InputPipeline, all_vectors

LEAST, MOST = 3, 30
"""Steps that are timed."""
SECONDS = 15.0
"""After so many no further step is begun."""
UNTIMED = 2
"""Steps before the first that is timed: what is loaded at first use, and batches that were prepared meanwhile."""
WHOLE = 60.0
"""Seconds below which all evaluators are run whole; else on a sample."""
TRIED = 64
"""Inputs of each side of an evaluator that are encoded to find out, after a batch that isn't timed."""


@dataclass(frozen=True)
class Measured:
    """What this machine took, in the mean, and its memory."""

    device: str
    start_seconds: float
    """From the beginning of the process until the first step could be taken."""
    import_seconds: float
    """Of these, for the libraries."""
    start_processor_seconds: float
    """That this process computed until then, on all of its threads."""
    step_seconds: float
    waiting_share: float
    """Of a step, for data."""
    steps: int
    """That were timed."""
    step_processor_seconds: float
    workers: int
    evaluation_seconds: float
    """Of one evaluation by all evaluators."""
    evaluation_processor_seconds: float
    evaluation_estimated: bool
    """Whether that is of a sample; what ranking takes is then left out."""
    peak_bytes: int
    """Resident set of this process at most on the CPU, and what is held of a GPU."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(vars(self))


def measure(job: TrainingJob, terminal: Terminal, import_seconds: float) -> Measured:
    """Take real steps and run real evaluators. The model is another one afterwards; nothing is written.

    Args:
        job: rehearsed.
        terminal: where to show progress.
        import_seconds: what loading the libraries took.

    Raises:
        MmstError: what training would stop at.
    """
    started, computed = age_of_process(), time.process_time()
    device = job.model.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with terminal.waiting("evaluating once, as before training"):
        evaluation_seconds, estimated = _measure_evaluation(job.suite, job)
    evaluated = time.process_time() - computed
    with terminal.waiting(f"taking {LEAST + UNTIMED} to {MOST + UNTIMED} real steps"):
        clock = _take_steps(job)
    return Measured(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        start_seconds=started,
        import_seconds=import_seconds,
        start_processor_seconds=computed,
        step_seconds=clock.seconds / clock.timed,
        waiting_share=clock.waiting / clock.seconds if clock.seconds else 0.0,
        steps=clock.timed,
        step_processor_seconds=clock.processor / clock.timed,
        workers=clock.workers,
        evaluation_seconds=evaluation_seconds,
        evaluation_processor_seconds=evaluated,
        evaluation_estimated=estimated,
        peak_bytes=peak_bytes(device),
    )


def age_of_process() -> float:
    """Return how many seconds ago this process was begun."""
    import psutil  # type: ignore[import-untyped]

    return float(time.time() - psutil.Process().create_time())


def peak_bytes(device: torch.device) -> int:
    """Return what this process held at most: of a GPU by torch's own count, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _StepClock(TrainerCallback):  # type: ignore[misc]
    """Times steps, stops after some, and lets nothing be evaluated, saved or logged."""

    def __init__(self) -> None:
        self.timed, self.seconds, self.waiting, self.processor, self.workers = 0, 0.0, 0.0, 0.0, 0
        self.account: Any = None
        self._since = self._processor = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Take the time."""
        now, processor, spent = time.perf_counter(), time.process_time(), self.account.take()
        self.workers = args.dataloader_num_workers
        done = state.global_step
        if done > UNTIMED or (done > 1 and done == state.max_steps) or state.max_steps == 1:
            self.timed += 1
            self.seconds += now - self._since
            self.processor += processor - self._processor
            self.waiting += spent["data"]
        self._since, self._processor = now, processor
        control.should_evaluate = control.should_save = control.should_log = False
        enough = self.timed >= LEAST and self.seconds >= SECONDS
        control.should_training_stop = control.should_training_stop or enough or self.timed >= MOST
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Let nothing be evaluated, saved or logged."""
        control.should_evaluate = control.should_save = control.should_log = False
        return control

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.account.take()
        self._since, self._processor = time.perf_counter(), time.process_time()


def _take_steps(job: TrainingJob) -> _StepClock:
    clock = _StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = job.build_trainer(Path(folder), [])
        clock.account = trainer.account
        trainer.callback_handler.callbacks = [DefaultFlowCallback(), clock]  # trackers would begin a run in its place
        trainer.args.eval_on_start = trainer.args.load_best_model_at_end = False
        with told_how_it_ended(job.config, None, trainer):
            trainer.train()
    return clock


def _measure_evaluation(suite: EvaluatorSuite, job: TrainingJob) -> tuple[float, bool]:
    """Return the seconds that all evaluators take once, and whether that was concluded from a sample."""
    if not suite.evaluators:
        return 0.0, False
    tried = {name: _encode_some(evaluator, job) for name, evaluator in suite.retrievals.items()}
    expected = sum(tried.values())
    others = [name for name in suite.evaluators if name not in tried]
    if expected > WHOLE:
        suite = EvaluatorSuite({name: suite.evaluators[name] for name in others}, suite.precision, suite.model_name)
    else:
        expected = 0.0
    begun = time.perf_counter()
    if suite.evaluators:
        suite(job.model, steps=0)
    return expected + time.perf_counter() - begun, expected > 0


def _encode_some(evaluator: MatryoshkaRetrievalEvaluator, job: TrainingJob) -> float:
    """Return the seconds that encoding queries and corpus would take by a sample of each.

    A first batch isn't timed: what is loaded at first use is loaded then, and the processes that prepare inputs begin.
    """
    data = evaluator.retrieval
    sides: list[tuple[Task, Callable[[], Iterable[StoredInput]], int]] = [
        ("query", data.query_inputs, len(data.query_ids)),
        ("document", data.corpus_inputs, len(data.corpus_ids)),
    ]
    total = 0.0
    with InputPipeline(
        job.model,
        read=read_with_digest,
        batch_size=evaluator.batch_size,
        precision=job.precision,
        workers=evaluator.workers,
    ) as pipeline:
        for task, inputs, count in sides:
            places = choose_indices(count, TRIED + evaluator.batch_size, job.config.seed)
            chosen, last = set(places), max(places, default=-1)
            some = [one for place, one in enumerate(islice(inputs(), last + 1)) if place in chosen]
            timed = some[evaluator.batch_size :] or some
            for part in (some[: evaluator.batch_size], timed):
                begun = time.perf_counter()
                for _ in all_vectors(pipeline.encode(part, task=task, left=count)):
                    pass
            total += (time.perf_counter() - begun) * count / max(1, len(timed))
    return total
