"""`mmst eval`: measure a run's model, a model, or the model of a config, and say which size to ship."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.load import with_model
from mmst_cli.config.rules import check_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import ModelError
from mmst_cli.evaluation.comparison import Comparison, compare_evaluations, load_comparable, verdict
from mmst_cli.evaluation.evaluation_output import (
    cells_table,
    comparison_tables,
    save_evaluation_files,
    save_int8_ranges,
    save_runs,
    show_advice,
)
from mmst_cli.evaluation.evaluation_request import EvaluationOptions, refuse_if_written, with_grid
from mmst_cli.evaluation.evaluation_results import Evaluation, load_evaluation
from mmst_cli.evaluation.evaluator_suite import PreparedEvaluation, prepare_evaluation, watched
from mmst_cli.evaluation.recommendation import advised
from mmst_cli.evaluation.report_page import write_page
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load_model import find_model
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.output_claim import all_claimed
from mmst_cli.preparing.broken_rows import told_of_skipping
from mmst_cli.preparing.image_preparation import prepare_images
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.runs import RunFolder, run_of_model
from mmst_cli.storage import told_of_disk
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.ranges import find_ranges


@dataclass(frozen=True)
class EvaluationOutcome:
    """What was found, by evaluator."""

    evaluations: dict[str, Evaluation]
    comparisons: dict[str, Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found: dict[str, Any] = {name: evaluation.result.to_dict() for name, evaluation in self.evaluations.items()}
        for name, comparison in self.comparisons.items():
            found[name]["comparison"] = asdict(comparison)
        return found


def run_evaluation(
    config: Config, options: EvaluationOptions | None = None, terminal: Terminal | None = None
) -> EvaluationOutcome:
    """Evaluate, under the precision that the config declares.

    Args:
        config: what to measure, and on what; :func:`mmst_cli.evaluation.evaluation_request.find_config` makes it
            of a run or a model.
        options: what else is asked for.
        terminal: where to show progress and the tables.

    Raises:
        MmstError: a mistake in options, config, data or model.
    """
    options, terminal = options or EvaluationOptions(), terminal or Terminal()
    config = as_recorded(with_grid(config, options), terminal)
    check_config(config, for_training=False)
    with told_of_skipping(config), all_claimed(_places(config, options)):
        return _evaluate(config, options, terminal)


def _places(config: Config, options: EvaluationOptions) -> dict[str, Path | None]:
    """Return the folders that are written into: that of a run too, whose model and what is said of it go together."""
    run = run_of_model(config.model.name_or_path)
    measures_int8 = any("int8" in evaluator.precisions for evaluator in config.evaluators.values())
    writes = run is not None and (options.report == run.report or (measures_int8 and _is_writable(run)))
    return {"--output": options.output, "--save-run": options.save_run, "TARGET": run.path if run and writes else None}


def _is_writable(run: RunFolder) -> bool:
    return os.access(run.evaluations if run.evaluations.is_dir() else run.path, os.W_OK)


def _evaluate(config: Config, options: EvaluationOptions, terminal: Terminal) -> EvaluationOutcome:
    refuse_if_written(config, options)
    compared = _find_compared(config, options)
    quiet_libraries(terminal)
    prepared = _prepare(config, options, terminal)
    with watched(prepared.suite, terminal, f"of {config.model.name_or_path}"):
        prepared.suite(prepared.model)
    evaluations = advised(prepared.suite.evaluations, options.keep)
    for evaluation in evaluations.values():
        terminal.show(cells_table(evaluation, terminal.result_width))
        show_advice(evaluation, terminal)
    with told_of_disk(options.output or options.save_run or Path()):
        _save(config, options, prepared, evaluations, terminal)
    comparisons = _compare(config, options, evaluations, compared, prepared, terminal)
    if options.report:
        terminal.say(f"saved: {_write_report(options.report, config, prepared, evaluations)}")
    return EvaluationOutcome(evaluations, comparisons)


def _prepare(config: Config, options: EvaluationOptions, terminal: Terminal) -> PreparedEvaluation:
    needed = list(dict.fromkeys(evaluator.dataset for evaluator in config.evaluators.values()))
    prepared = prepare_evaluation(config, terminal, needed)
    prepare_images(config, prepared.rows, prepared.model, terminal)
    if options.calibration is None:
        return prepared
    full = prepared.model.get_embedding_dimension()
    for evaluator in prepared.suite.retrievals.values():
        for dim in evaluator.dims or [full]:
            _, ranges = find_ranges(config.model.name_or_path, options.calibration, dim if dim < full else None)
            evaluator.given_ranges |= ranges.by_dim
    return prepared


def _save(
    config: Config,
    options: EvaluationOptions,
    prepared: PreparedEvaluation,
    evaluations: dict[str, Evaluation],
    terminal: Terminal,
) -> None:
    run = run_of_model(config.model.name_or_path)
    for name, evaluation in evaluations.items():
        if options.output:
            terminal.say(f"saved: {save_evaluation_files(evaluation, prepared.suite, options.output)}")
        evaluator = prepared.suite.retrievals.get(name)
        # `mmst encode RUN --precision int8` finds them there.
        if evaluator and evaluator.ranges and run and not _is_writable(run):
            terminal.warn(f"the int8 ranges are not saved in {run.path}, where nothing can be written.")
        elif evaluator and run and (path := save_int8_ranges(evaluator, str(run.model), run.evaluations)):
            terminal.say(f"saved: {path}")
        if evaluator and options.save_run:
            paths = save_runs(evaluator, options.save_run, config.run_name)
            terminal.say(f"saved: {len(paths) - 1} run files and {paths[-1]}")


def _write_report(path: Path, config: Config, prepared: PreparedEvaluation, evaluations: dict[str, Evaluation]) -> Path:
    """Write the page; that of a run tells of its training as well."""
    run = run_of_model(config.model.name_or_path)
    saved = {name: run.evaluations / f"{name}.before.json" for name in evaluations} if run else {}
    before = {name: load_evaluation(path) for name, path in saved.items() if path.is_file()}
    return write_page(
        path,
        config,
        prepared.rows,
        prepared.suite,
        verdict=verdict(before, evaluations),
        before=before,
        after=evaluations,
        run=run,
    )


def _find_compared(config: Config, options: EvaluationOptions) -> dict[str, Evaluation] | None:
    """Return what is saved of what ``--compare`` names, or None where that is a model to measure.

    Raises:
        MmstError: the name leads nowhere; told before anything is measured.
    """
    if options.compare is None:
        return None
    saved = {name: load_comparable(options.compare, name) for name in config.evaluators}
    found = {name: evaluation for name, evaluation in saved.items() if evaluation}
    if len(found) == len(saved):
        return found
    model = find_model(options.compare)
    if not Path(model).exists() and checkpoint_commit(model, None) is None:
        raise ModelError(f"--compare {options.compare}: no such run, results or folder, and no hub that knows it.")
    return None


def _compare(
    config: Config,
    options: EvaluationOptions,
    evaluations: dict[str, Evaluation],
    others: dict[str, Evaluation] | None,
    prepared: PreparedEvaluation,
    terminal: Terminal,
) -> dict[str, Comparison]:
    """Compare with what ``--compare`` names: saved results as they are, a model after measuring it likewise."""
    if options.compare is None:
        return {}
    others = others or _measure_other(config, options, terminal)
    comparisons = {}
    for name, evaluation in evaluations.items():
        evaluator, other = prepared.suite.retrievals.get(name), others[name]
        text_of = _texts_of(evaluator.retrieval) if evaluator else None
        comparison = compare_evaluations(evaluation, other, config.model.name_or_path, options.compare, text_of)
        for part in comparison_tables(comparison):
            terminal.show(part)
        comparisons[name] = comparison
    return comparisons


def _measure_other(config: Config, options: EvaluationOptions, terminal: Terminal) -> dict[str, Evaluation]:
    name = str(options.compare)
    prepared = _prepare(with_model(config, name), options, terminal)
    with watched(prepared.suite, terminal, f"of {name}"):
        prepared.suite(prepared.model)
    return prepared.suite.evaluations


def _texts_of(retrieval: RetrievalSet) -> Callable[[str], str | None]:
    """Return what reads the text of a query by its id, None where it is no text."""
    place = {query: index for index, query in enumerate(retrieval.query_ids)}

    def text_of(query: str) -> str | None:
        value = retrieval.query_at(place[query])[1]
        return value if isinstance(value, str) else None

    return text_of
