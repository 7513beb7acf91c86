"""A plan as a person reads it: tables that fit 80 columns, each with the formula its figures are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.planning.counted_work import Work
from mmst_cli.planning.devices import GIB
from mmst_cli.planning.measured_time import MeasuredTime
from mmst_cli.planning.plan_result import Advice, Plan
from mmst_cli.planning.planned_run import PlannedColumn, gradient_bytes, host_bytes
from mmst_cli.planning.planned_time import UTILISATION, Span, Time
from mmst_cli.planning.sampled_columns import SampledColumn
from mmst_cli.terminal import Terminal


def show_plan(plan: Plan, terminal: Terminal) -> None:
    """Show a plan: rows, work, memory, disk, time, what it leaves open, and last the verdict and what to change."""
    terminal.show(columns_table(plan.facts.columns))
    for line in notes_on_columns([column.sampled for column in plan.facts.columns]):
        terminal.show(line)
    terminal.show(_facts_table("work", work_lines(plan)))
    terminal.show(_facts_table(f"memory on {plan.device}", list(memory_lines(plan))))
    terminal.show(_facts_table("disk", disk_lines(plan)))
    terminal.show(_facts_table(f"time on {plan.device}", list(time_lines(plan))))
    if plan.probed:
        terminal.show(probe_table(plan.probed))
    told = (("assumed", plan.assumed), ("unknown", plan.unknown), ("not counted", plan.not_counted))
    for title, sentences in told:
        for sentence in sentences:
            terminal.show(f"{title}: {sentence}")
    terminal.show(f"verdict: {plan.sentence}")
    for number, advice in enumerate(plan.advice, 1):
        terminal.show(f"{number}. {advice_line(advice)}")


def columns_table(columns: Sequence[PlannedColumn]) -> Table:
    """Return a line a column: tokens, pixels, milliseconds."""
    table = Table(
        title="a sample of the rows", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("column", overflow="fold")
    for name in ("rows", "tokens\n5%-50%-95%", "pixels", "seen", "read", "process"):
        table.add_column(name, justify="right", no_wrap=True)
    for column in columns:
        one = column.sampled
        table.add_row(
            f"{one.dataset}.{one.column}",
            f"{one.looked_at:,}",
            _three(one.tokens),
            "-" if one.pixels is None else _short(one.pixels["median"]),
            "-" if one.pixels_seen is None else _short(one.pixels_seen["median"]),
            f"{one.read_ms:.1f} ms",
            f"{one.process_ms:.1f} ms",
        )
    return table


def _short(count: float) -> str:
    """Return a count in thousands or millions."""
    return f"{count / 1e6:.2f}M" if count >= 999_500 else f"{count / 1e3:.0f}k" if count >= 10_000 else f"{count:.0f}"


def notes_on_columns(columns: Sequence[SampledColumn]) -> list[str]:
    """Return a sentence about each column of which inputs are cut, bounded or refused."""
    notes = []
    for one in columns:
        where = f"{one.dataset}.{one.column}"
        if one.cut:
            notes.append(f"{where}: {one.cut} of {one.looked_at} are cut at {one.limit:,} tokens.")
        if one.refused:
            notes.append(f"{where}: {one.refused} of {one.looked_at} can't be read, or the model refuses them.")
    return notes


def work_lines(plan: Plan) -> list[tuple[str, str, str]]:
    """Return what the run does: what, how much, by which terms."""
    work, sizes = plan.facts.work, plan.facts.mini_batches
    rows = sum(count or 0 for count in work.rows.values())
    of = "a stream" if None in work.rows.values() else f"{rows:,} rows an epoch"
    lines = [
        ("samples", f"{work.samples:,}", of),
        ("steps", f"{work.steps:,}", _batches(work)),
    ]
    for name, count in work.negatives.items():
        others = f"of set {name}" if len(work.negatives) > 1 else "documents of other rows, and its negatives"
        lines.append(("negatives an anchor", f"{count:,}", others))
    if sizes.cached:
        rows_at_a_time = f"{sizes.tokens:,} tokens" if sizes.tokens else f"{sizes.rows or 0:,} rows"
        found = "found by the memory" if sizes.fits else str(sizes.key)
        lines.append(("mini-batch", rows_at_a_time, found))
    encoded = work.inputs_per_evaluation
    if work.evaluations:
        each = "unknown" if encoded is None else f"{work.evaluations:,} evaluations of {encoded:,}"
        lines.append(("inputs evaluated", "unknown" if encoded is None else f"{work.evaluations * encoded:,}", each))
    lines.append(("checkpoints", f"{work.saves:,}", f"{work.kept_checkpoints:,} at a time"))
    return lines


def memory_lines(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield the bytes of each term, and what it is of."""
    weights, memory = plan.facts.weights, plan.memory
    share = "all trained" if weights.trained == weights.parameters else f"{weights.trained:,} trained"
    yield "parameters", f"{weights.parameters:,}", share
    yield "weights", in_gib(weights.bytes), ""
    exchanged = ", and once more to exchange them" if plan.facts.work.processes > 1 else ""
    yield "gradients", in_gib(gradient_bytes(plan.facts)), f"a number for each that is trained{exchanged}"
    yield "optimizer", in_gib(weights.state_bytes), weights.optimizer
    if memory is None:
        yield "activations", "unknown", "see below"
    else:
        yield "activations", in_gib(memory.activations), "of a mini-batch, forward and backward"
        yield "inputs", in_gib(memory.inputs), "features of a mini-batch"
        if plan.facts.work.evaluations:
            yield "evaluating", in_gib(memory.evaluation), f"{plan.facts.evaluation_batch:,} inputs at a time"
        if memory.library:
            yield "CUDA", in_gib(memory.library), "libraries and pieces, a rule of thumb"
        named = "at most" if memory.library else "tensors"
        yield named, in_gib(memory.peak), "the largest of training, stepping, evaluating"
    ahead = plan.facts.batches_ahead
    yield "on the host", in_gib(host_bytes(plan.facts)), f"{ahead:,} {'batch' if ahead == 1 else 'batches'} at a time"
    if plan.peak is not None:
        yield "measured", in_gib(plan.peak), "of the process, libraries included"
    if plan.room is not None:
        yield "there is", in_gib(plan.room), ""


def disk_lines(plan: Plan) -> list[tuple[str, str, str]]:
    """Return the bytes that stay on the disk."""
    disk = plan.disk
    lines = [
        ("a checkpoint", in_gib(disk["checkpoint"]), "weights" + ("" if plan.facts.only_model else " and optimizer")),
        ("checkpoints", in_gib(disk["checkpoints"]), f"{plan.facts.work.kept_checkpoints:,} at a time"),
        ("model", in_gib(disk["model"]), ""),
    ]
    if disk["prepared_images"]:
        lines.append(("prepared images", in_gib(disk["prepared_images"]), "in the cache, at most"))
    return lines


def time_lines(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield the time of each term, with what it is computed of."""
    time, facts = plan.time, plan.facts
    if time is None:
        yield "in all", "unknown", "see below"
        return
    if isinstance(time, MeasuredTime):
        yield from _measured_lines(plan, time)
    else:
        yield from _planned_lines(plan, time)
    low, high = plan.seconds or (0.0, 0.0)
    yield "in all", between(low, high), f"the limit: {_limit(time.limit)}"
    if plan.cost is not None:
        least, most = plan.costs or (0.0, 0.0)
        each = f" of each of {facts.work.processes:,} devices" if facts.work.processes > 1 else ""
        yield "cost", f"{least:.2f}-{most:.2f}", f"{plan.cost:g} an hour{each}"
    yield (
        "feeding alone",
        clock(facts.work.samples * facts.feeding.train_row_ms / 1000 / facts.feeding.processes),
        f"{facts.work.samples:,} rows x {facts.feeding.train_row_ms:.1f} ms / {facts.feeding.processes} of processors"
        " like these",
    )


def _measured_lines(plan: Plan, time: MeasuredTime) -> Iterator[tuple[str, str, str]]:
    measured, work = plan.measured or {}, plan.facts.work
    yield "start", clock(time.start), "libraries, data, model and checks, as just now"
    seen = f"{work.steps:,} steps x {measured['step_seconds']:.3f} s, {measured['steps']} timed"
    yield "training", clock(time.training), f"{seen}, {measured['waiting_share']:.0%} waiting for data"
    how = "by a sample" if measured["evaluation_estimated"] else "run once"
    each = f"{work.evaluations} x {measured['evaluation_seconds']:.1f} s, {how}"
    yield "evaluations", clock(time.evaluating), each if work.evaluations else "none"
    yield "checkpoints", clock(time.saving), f"{work.saves} at 0.5 GB/s, assumed"
    yield "end", clock(time.finish), "a fresh process that loads what was saved, and the report"


def _planned_lines(plan: Plan, time: Time) -> Iterator[tuple[str, str, str]]:
    least, most = UTILISATION
    yield "start", span(time.start), "assumed"
    yield "computing", span(time.computing), f"operations / (peak x {least:.0%} to {most:.0%}), or launches"
    fed = time.feeding_evaluations > time.evaluating.low
    of = "none" if not plan.facts.work.evaluations else "preparing their inputs" if fed else "the same, forward only"
    yield "evaluations", span(time.evaluating.at_least(time.feeding_evaluations)), of
    yield "checkpoints", clock(time.saving), "at 0.5 GB/s, assumed"
    yield "end", span(time.finish), "assumed"


def probe_table(probed: Sequence[Any]) -> Table:
    """Return a line a size that was tried."""
    table = Table(title="tried", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for name in ("mini-batch", "peak memory", "samples a second"):
        table.add_column(name, justify="right")
    for one in probed:
        peak = "no room" if one["peak_bytes"] is None else in_gib(one["peak_bytes"])
        speed = "-" if one["samples_per_second"] is None else f"{one['samples_per_second']:,.1f}"
        table.add_row(f"{one['rows']:,}", peak, speed)
    return table


def advice_line(advice: Advice) -> str:
    """Return a key to change, with what it saves, and what it costs."""
    found: list[tuple[float, str]] = []
    if advice.gibibytes is not None and abs(advice.gibibytes) >= 0.005:
        found.append((advice.gibibytes, in_gib(abs(advice.gibibytes) * GIB)))
    if advice.hours is not None and abs(advice.hours) >= 1 / 3600:
        found.append((advice.hours, clock(3600 * abs(advice.hours))))
    saved, costs = ([said for size, said in found if (size > 0) is gained] for gained in (True, False))
    told = [f"saves {' and '.join(saved)}"] if saved else []
    told += [f"takes {' and '.join(costs)} more"] if costs else []
    return f"{advice.change} {', '.join(told)}{f': {advice.why}' if advice.why else ''}"


def _facts_table(title: str, lines: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(f"  {line[0]}", *line[1:])
    return table


def in_gib(size: float) -> str:
    """Return bytes as GiB, small ones as MiB."""
    return f"{size / GIB:,.2f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"


def clock(seconds: float) -> str:
    """Return a time in the unit it is best read in."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def span(found: Span) -> str:
    """Return a range of times."""
    return between(found.low, found.high)


def between(low: float, high: float) -> str:
    """Return two times as a range, in the unit of the larger."""
    size, unit = (1, "s") if high < 120 else (60, "min") if high < 7200 else (3600, "h")
    least, most = f"{low / size:.1f}", f"{high / size:.1f}"
    return f"{most} {unit}" if least == most else f"{least}-{most} {unit}"


def _batches(work: Work) -> str:
    on_each = f" on each of {work.processes:,} devices" if work.processes > 1 else ""
    return f"batches of {work.batch:,}{on_each}" + _times(work.accumulated, "a step")


def _limit(limit: str) -> str:
    return {"feeding": "preparing rows on the processors", "start": "starting and ending"}.get(
        limit, "computing on the device"
    )


def _times(count: int, what: str) -> str:
    return f", {count:,} {what}" if count > 1 else ""


def _three(found: dict[str, float] | None) -> str:
    return "-" if found is None else "-".join(f"{found[level]:,.0f}" for level in ("p5", "median", "p95"))
