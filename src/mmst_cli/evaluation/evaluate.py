"""`mmst eval`: measure a run's model, a model, or the model of a config, and say which size to ship."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.config.schema import Config
from mmst_cli.config.signatures import OWN_EVALUATOR
from mmst_cli.errors import ConfigError, RunError, did_you_mean
from mmst_cli.evaluation.comparison import Comparison, compare_evaluations, load_comparable, verdict
from mmst_cli.evaluation.evaluation_output import (
    cells_table,
    comparison_tables,
    save_evaluation_files,
    save_int8_ranges,
    save_runs,
    show_advice,
)
from mmst_cli.evaluation.evaluation_results import Evaluation, load_evaluation
from mmst_cli.evaluation.evaluator_suite import watched
from mmst_cli.evaluation.prepare import Prepared, prepare
from mmst_cli.evaluation.recommendation import DEFAULT_KEEP, advised
from mmst_cli.evaluation.report_page import write_page
from mmst_cli.model.load import find_model
from mmst_cli.retrieval.retrieval_set import RetrievalSet
from mmst_cli.runs import run_of_model
from mmst_cli.terminal import Terminal, quiet_libraries
from mmst_cli.vectors.ranges import find_ranges


@dataclass(frozen=True)
class EvaluationOptions:
    """What `mmst eval` is asked for, besides the config.

    Attributes:
        dims: embedding dimensions to measure, instead of the config's.
        precisions: precisions to measure, instead of the config's.
        keep: share of the full dimension's score that a recommended size must be shown to keep.
        output: folder for the results as JSON, CSV and parquet.
        calibration: where int8 ranges come from, instead of the corpus: ranges or float32 vectors in a file.
        save_run: folder for TREC run files.
        compare: what to compare with: a run folder, a model or a saved result.
        report: where to write a page about it.
        overwrite: replace files that are there.
    """

    dims: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ()
    keep: float = DEFAULT_KEEP
    output: Path | None = None
    calibration: Path | None = None
    save_run: Path | None = None
    compare: str | None = None
    report: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class EvaluationOutcome:
    """What was found, by evaluator."""

    evaluations: dict[str, Evaluation]
    comparisons: dict[str, Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        found: dict[str, Any] = {name: evaluation.result.to_dict() for name, evaluation in self.evaluations.items()}
        for name, comparison in self.comparisons.items():
            found[name]["comparison"] = comparison.to_dict()
        return found


def run_evaluation(
    config: Config, options: EvaluationOptions | None = None, terminal: Terminal | None = None
) -> EvaluationOutcome:
    """Evaluate, under the precision that the config declares.

    Args:
        config: what to measure, and on what; :func:`mmst_cli.evaluation.evaluated_target.find_config` makes it of a run
            or a model.
        options: what else is asked for.
        terminal: where to show progress and the tables.

    Raises:
        MmstError: a mistake in options, config, data or model.
    """
    options, terminal = options or EvaluationOptions(), terminal or Terminal()
    config = with_grid(config, options)
    check_config(config, for_training=False)
    _refuse_if_written(config, options)
    compared = _find_compared(config, options)
    quiet_libraries(terminal)
    prepared = _prepare(config, options, terminal)
    with watched(prepared.suite, terminal, f"of {config.model.name_or_path}"):
        prepared.suite(prepared.model)
    evaluations = advised(prepared.suite.evaluations, options.keep)
    for evaluation in evaluations.values():
        terminal.show(cells_table(evaluation, terminal.result_width))
        show_advice(evaluation, terminal)
    _save(config, options, prepared, evaluations, terminal)
    comparisons = _compare(config, options, evaluations, compared, prepared, terminal)
    if options.report:
        terminal.say(f"saved: {_write_report(options.report, config, prepared, evaluations)}")
    return EvaluationOutcome(evaluations, comparisons)


def report_path(config: Config, output: Path | None) -> Path:
    """Return where ``--report`` writes: into ``--output``, else into the folder of the run that is evaluated.

    Raises:
        ConfigError: the target is no run, and no output is named.
    """
    if output is not None:
        return output / "report.html"
    run = run_of_model(config.model.name_or_path)
    if run is None:
        raise ConfigError("--report: name a folder for it by --output; only a run has a place of its own for it.")
    return run.report


def with_grid(config: Config, options: EvaluationOptions) -> Config:
    """Return the config with its evaluators measuring what the options ask for.

    Raises:
        ConfigError: a dimension isn't positive, a precision is unknown, or one comes twice.
    """
    dims, precisions = options.dims, options.precisions
    if dims and (min(dims) < 1 or len(set(dims)) != len(dims)):
        raise ConfigError(f"--dims: {','.join(map(str, dims))}: name different positive numbers.")
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown:
        known = ", ".join(PRECISIONS)
        raise ConfigError(f"--precisions: {unknown[0]}: there are {known}.{did_you_mean(unknown[0], PRECISIONS)}")
    if len(set(precisions)) != len(precisions):
        raise ConfigError(f"--precisions: {','.join(precisions)}: name each once.")
    if not 0 < options.keep <= 1:
        raise ConfigError(f"--keep: {options.keep}: a share between 0 and 1, such as 0.99.")
    if precisions and not any(evaluator.type == OWN_EVALUATOR for evaluator in config.evaluators.values()):
        raise ConfigError(f"--precisions: no evaluator of this config is a {OWN_EVALUATOR}.")
    changed = {
        name: replace(
            evaluator,
            dims=list(dims) or evaluator.dims,
            precisions=list(precisions) or evaluator.precisions if evaluator.type == OWN_EVALUATOR else [],
        )
        for name, evaluator in config.evaluators.items()
    }
    return replace(config, evaluators=changed)


def _refuse_if_written(config: Config, options: EvaluationOptions) -> None:
    if options.overwrite:
        return
    # A run's own report is renewed whenever one is asked for.
    targets = {"--report": [options.report] if options.report and options.output else []}
    targets["--output"] = [options.output / f"{name}.json" for name in config.evaluators] if options.output else []
    targets["--save-run"] = (
        [options.save_run / f"{name}.qrels" for name in config.evaluators] if options.save_run else []
    )
    for option, paths in targets.items():
        for path in paths:
            if path.exists():
                raise RunError(f"{option}: {path} exists. Name another place, or add --overwrite.")


def _prepare(config: Config, options: EvaluationOptions, terminal: Terminal) -> Prepared:
    needed = list(dict.fromkeys(evaluator.dataset for evaluator in config.evaluators.values()))
    prepared = prepare(config, terminal, needed)
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
    prepared: Prepared,
    evaluations: dict[str, Evaluation],
    terminal: Terminal,
) -> None:
    run = run_of_model(config.model.name_or_path)
    for name, evaluation in evaluations.items():
        if options.output:
            terminal.say(f"saved: {save_evaluation_files(evaluation, prepared.suite, options.output)}")
        evaluator = prepared.suite.retrievals.get(name)
        # `mmst encode RUN --precision int8` finds them there.
        if evaluator and run and (path := save_int8_ranges(evaluator, str(run.model), run.evaluations)):
            terminal.say(f"saved: {path}")
        if evaluator and options.save_run:
            paths = save_runs(evaluator, options.save_run, config.run_name)
            terminal.say(f"saved: {len(paths) - 1} run files and {paths[-1]}")


def _write_report(path: Path, config: Config, prepared: Prepared, evaluations: dict[str, Evaluation]) -> Path:
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
    find_model(options.compare)
    return None


def _compare(
    config: Config,
    options: EvaluationOptions,
    evaluations: dict[str, Evaluation],
    others: dict[str, Evaluation] | None,
    prepared: Prepared,
    terminal: Terminal,
) -> dict[str, Comparison]:
    """Compare with what ``--compare`` names: saved results as they are, a model after measuring it likewise."""
    if options.compare is None:
        return {}
    others = others or _measure_other(config, options, terminal)
    comparisons = {}
    for name, evaluation in evaluations.items():
        evaluator, other = prepared.suite.retrievals.get(name), others[name]
        texts = QueryTexts(evaluator.retrieval) if evaluator else None
        comparison = compare_evaluations(evaluation, other, config.model.name_or_path, options.compare, texts)
        for part in comparison_tables(comparison):
            terminal.show(part)
        comparisons[name] = comparison
    return comparisons


def _measure_other(config: Config, options: EvaluationOptions, terminal: Terminal) -> dict[str, Evaluation]:
    name = str(options.compare)
    prepared = _prepare(
        replace(config, model=replace(config.model, name_or_path=name, revision=None)), options, terminal
    )
    with watched(prepared.suite, terminal, f"of {name}"):
        prepared.suite(prepared.model)
    return prepared.suite.evaluations


class QueryTexts(Mapping[str, str]):
    """Query id to its text, read when it is asked for; queries that are no texts have none."""

    def __init__(self, retrieval: RetrievalSet) -> None:
        self._retrieval = retrieval
        self._place = {query: index for index, query in enumerate(retrieval.query_ids)}

    def __getitem__(self, query: str) -> str:
        value = self._retrieval.query_at(self._place[query])[1]
        if not isinstance(value, str):
            raise KeyError(query)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)
