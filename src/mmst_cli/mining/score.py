"""`mmst score`: rows with negatives in, the same rows with a teacher's scores out, ready for a distillation."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmst_cli.config.schema import Config, DatasetConfig, MineConfig, ModelConfig, Role
from mmst_cli.errors import ConfigError, DataError, WorkError
from mmst_cli.mining.doubtful_rows import are_doubtful, source_rows
from mmst_cli.mining.mined_columns import TEACHER_SCORES, scored_section
from mmst_cli.mining.mining_job import mining_model
from mmst_cli.mining.mining_vectors import FloatArray, Numbers
from mmst_cli.mining.output_places import ScoredPlaces, begin_work, check_output, take_up
from mmst_cli.mining.row_scores import RowScoring, score_rows
from mmst_cli.mining.rows_written import claimed_output, told_how_to_go_on
from mmst_cli.mining.score_summary import ScoreFacts, ScoringResult, facts_of, say_result
from mmst_cli.mining.second_model import check_second, load_second
from mmst_cli.model.load_model import check_loadable
from mmst_cli.model.model_identity import model_identity
from mmst_cli.model.precision import choose_runtime
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.rows.bad_rows import BadRows
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import rows_identity
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.rows.shapes import drawn_from
from mmst_cli.rows.table_writing import write_rows
from mmst_cli.sources.tables import load_rows
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.data_workers import workers_of


@dataclass(frozen=True)
class ScoringOptions:
    """What `mmst score` is asked for.

    Attributes:
        dataset: the set of the config to score.
        teacher: its ``model`` gives the scores, in batches of its ``batch_size``.
        output: the parquet file to write.
        column: the new column; teacher_scores if left out.
        logits: whether a CrossEncoder's scores are those before its activation, such as a sigmoid.
        resume: go on with what a killed command left.
        overwrite: replace an output that is there, and begin anew.
        rows_per_part: how many rows a killed command may lose.
    """

    dataset: str
    teacher: MineConfig
    output: Path
    column: str | None = None
    logits: bool = False
    resume: bool = False
    overwrite: bool = False
    rows_per_part: int = 2_000


def run_scoring(config: Config, options: ScoringOptions, terminal: Terminal) -> ScoringResult:
    """Score the positive and the negatives of each row, and write the scores beside the rows.

    Args:
        config: what holds the set, and how media are read.
        options: what is asked for.
        terminal: where to show progress and the outcome.

    Raises:
        MmstError: a mistake in options, data or model; nothing was written.
        WorkError: an input can't be read or scored; what was done so far is kept for --resume.
    """
    config = as_recorded(config, terminal, options.teacher.model)
    places = ScoredPlaces(options.output)
    with claimed_output(places.output):
        return _run(config, options, places, terminal)


def _run(config: Config, options: ScoringOptions, places: ScoredPlaces, terminal: Terminal) -> ScoringResult:
    started, section = time.monotonic(), config.datasets[options.dataset]
    check_output(places, section, resume=options.resume, overwrite=options.overwrite)
    runtime = choose_runtime(config.training)
    teacher = mining_model(config, options.teacher)
    check_loadable(teacher, runtime.device, runtime.precision)
    quiet_libraries(terminal)
    inputs = {name: column for name, column in section.columns.items() if column.role is not Role.label}
    section = section.model_copy(update={"columns": inputs})
    bad_rows = BadRows.of({options.dataset: section}, terminal)
    rows = prepare_rows(options.dataset, section, config.seed, config.media, bad_rows, drop=True)
    _refuse_several(rows)
    source = load_rows(options.dataset, section.model_copy(update={"max_rows": None}), config.seed)
    column = _new_column(source.column_names, options.column)
    job = _describe_job(config, section, options, rows_identity(rows), teacher) | {"column": column}
    known = take_up(places, job, resume=options.resume, overwrite=options.overwrite)
    if known is None:
        second = load_second(teacher, runtime.device, runtime.precision, "--model", logits=options.logits)
        check_second(second, rows.key, *rows.columns)
        workers = workers_of(config.training)
        size = options.teacher.batch_size
        scoring = RowScoring(rows, second, places.work, size, options.rows_per_part, workers)
        terminal.say(f"scoring {len(scoring.documents)} documents of each of {len(rows):,} rows with {second.name}")
        begin_work(places, job, overwrite=options.overwrite)
        with told_how_to_go_on(size, terminal):
            facts = _score(scoring, source, options.teacher.min_positive_score, places, job, terminal)
    else:
        facts = ScoreFacts(**known)
        terminal.say(f"{options.output} is finished already: nothing is left to do.")
    lines = scored_section(options.dataset, section, options.output, column)
    result = ScoringResult(options.output, facts, time.monotonic() - started, lines, column)
    say_result(result, options.teacher.min_positive_score, terminal)
    return result


def _score(
    scoring: RowScoring,
    source: Any,
    least: float | None,
    places: ScoredPlaces,
    job: dict[str, Any],
    terminal: Terminal,
) -> ScoreFacts:
    """Score, and write the file."""
    rows, scores = scoring.rows, score_rows(scoring, terminal)
    doubtful = are_doubtful(scores[:, 0], least)
    if doubtful.all():
        shutil.rmtree(places.work)
        raise WorkError(
            f"nothing was written: the positive of every row scores below {least:g} (--min-positive-score), the highest"
            f" {scores[:, 0].max():g}. Lower it, or take another teacher."
        )
    facts, kept = facts_of(rows, scores, doubtful), np.flatnonzero(~doubtful)
    with terminal.waiting("writing"):
        _write(rows, source, kept, scores, places, {"job": job, "facts": asdict(facts)})
    shutil.rmtree(places.work)
    return facts


def _write(
    rows: RowSet, source: Any, kept: Numbers, scores: FloatArray, places: ScoredPlaces, told: dict[str, Any]
) -> None:
    metadata = {places.key: json.dumps(told)}
    partial = places.work / places.output.name
    write_rows(
        source.select(source_rows(rows, kept)),
        rows.columns,
        rows.reader,
        partial,
        folder=places.output.parent,
        scores=(told["job"]["column"], scores[kept]),
        metadata=metadata,
    )
    partial.replace(places.output)


def _refuse_several(rows: RowSet) -> None:
    """Refuse rows of which several are drawn from one stored row: a label stands once in it.

    Raises:
        DataError: they are.
    """
    if len(set(drawn_from(rows)[0].tolist())) < len(rows):
        raise DataError(
            f"datasets.{rows.key}.columns.{rows.listed}: a cell is several positives, and each would need a list of"
            " scores of its own in one row. Write one positive a row, as mmst mine does."
        )


def _new_column(taken: Sequence[str], asked: str | None) -> str:
    """Return the name of the new column.

    Raises:
        ConfigError: it is taken.
    """
    if asked is not None and not asked.strip():
        raise ConfigError("--column: it is empty. Name the new column.")
    name = TEACHER_SCORES if asked is None else asked
    if name in taken:
        raise ConfigError(f"--column: the data have a column {name}. Name another one.")
    return name


def _describe_job(
    config: Config, section: DatasetConfig, options: ScoringOptions, rows: str, teacher: ModelConfig
) -> dict[str, Any]:
    """Return all that decides the output, by name."""
    job = {
        "rows": rows,
        "model": model_identity(teacher, config.seed),
        "logits": options.logits or None,
        "batch_size": options.teacher.batch_size,
        "min_positive_score": options.teacher.min_positive_score,
        "rows_per_part": options.rows_per_part,
        "media": config.media.record(),
        "columns": {name: column.model_dump() for name, column in section.columns.items()},
        "precision": {name: config.training.get(name) for name in ("bf16", "fp16")},
    }
    return dict(json.loads(json.dumps(job, default=str)))
