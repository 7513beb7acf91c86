"""`mmst eval`: measure a run's model, a model, or the model of a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from mmst_cli.config.rules import check_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, RunError
from mmst_cli.evaluation.prepare import prepare
from mmst_cli.evaluation.results import EvaluationResult, save_result
from mmst_cli.evaluation.watch import watched
from mmst_cli.terminal import Terminal, quiet_libraries


def run_evaluation(
    config: Config,
    *,
    dims: Sequence[int] = (),
    output: Path | None = None,
    overwrite: bool = False,
    terminal: Terminal | None = None,
) -> dict[str, EvaluationResult]:
    """Evaluate, under the precision that the config declares.

    Args:
        config: what to measure, and on what; :func:`mmst_cli.evaluation.target.find_config` makes it of a run
            or a model.
        dims: embedding dimensions to measure, instead of the config's.
        output: folder for a JSON and a CSV file per evaluator.
        overwrite: replace results that are in ``output``.
        terminal: where to show progress and the table.

    Returns:
        What each evaluator found, by its name.

    Raises:
        MmstError: a mistake in config, data or model.
    """
    terminal = terminal or Terminal()
    for warning in check_config(config, for_training=False):
        terminal.warn(warning)
    config = with_dims(config, dims)
    _refuse_if_written(config, output, overwrite)
    quiet_libraries(terminal)
    needed = list(dict.fromkeys(evaluator.dataset for evaluator in config.evaluators.values()))
    prepared = prepare(config, terminal, needed)
    with watched(prepared.suite, terminal, f"of {config.model.name_or_path}"):
        prepared.suite(prepared.model)
    results = prepared.suite.results
    for result in results.values():
        terminal.show(metrics_table(result))
        if output:
            terminal.say(f"saved: {save_result(result, output)}")
    return results


def with_dims(config: Config, dims: Sequence[int]) -> Config:
    """Return the config with the retrieval evaluators measuring at ``dims``.

    Raises:
        ConfigError: a dimension isn't positive or comes twice, or no evaluator takes dimensions.
    """
    if not dims:
        return config
    if min(dims) < 1 or len(set(dims)) != len(dims):
        raise ConfigError(f"--dims: {','.join(map(str, dims))}: name different positive numbers.")
    ours = {name: e for name, e in config.evaluators.items() if e.type == "MatryoshkaRetrievalEvaluator"}
    if not ours:
        raise ConfigError("--dims: no evaluator of this config is a MatryoshkaRetrievalEvaluator.")
    changed = {name: replace(evaluator, dims=list(dims)) for name, evaluator in ours.items()}
    return replace(config, evaluators={**config.evaluators, **changed})


def _refuse_if_written(config: Config, output: Path | None, overwrite: bool) -> None:
    if output is None or overwrite:
        return
    for name in config.evaluators:
        if (output / f"{name}.json").exists():
            raise RunError(f"--output: {output / f'{name}.json'} exists. Choose another folder, or add --overwrite.")


def metrics_table(result: EvaluationResult) -> Table:
    """Return a row per dimension: the primary metric, its share of the full dimension's, and the main others."""
    table = Table(
        title=f"{result.evaluator}: {result.queries:,} queries, {result.corpus:,} documents",
        title_justify="left",
    )
    others = [name for name in ("mrr@10", "recall@10", "accuracy@1") if name in result.full.metrics]
    for heading in ("dimension", result.primary_metric, "of full", *others, "bytes"):
        table.add_column(heading, justify="right")
    best = result.primary(result.full)
    for cell in result.cells:
        score = result.primary(cell)
        share = f"{score / best:.1%}" if best else "-"
        values = [f"{cell.metrics[name]:.4f}" for name in others]
        table.add_row(str(cell.dim), f"{score:.4f}", share, *values, str(cell.bytes_per_vector))
    return table
