"""The report of a run or an evaluation, gathered from what is in memory and in the run folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.schema import Config
from mmst_cli.evaluation.build import EvaluatorSuite
from mmst_cli.evaluation.gallery import Gallery, build_gallery
from mmst_cli.evaluation.marked_cells import cell_to_compare
from mmst_cli.evaluation.report import ReportData, write_report
from mmst_cli.evaluation.results import Evaluation
from mmst_cli.retrieval.data_card import Rows, data_card
from mmst_cli.runs import RunFolder, describe_environment

HITS = 10  # documents of a query that the page can speak of


def write_page(
    path: Path,
    config: Config,
    rows: Mapping[str, Rows],
    suite: EvaluatorSuite,
    *,
    verdict: str,
    before: Mapping[str, Evaluation],
    after: Mapping[str, Evaluation],
    run: RunFolder | None = None,
) -> Path:
    """Write ``report.html`` on what a suite has just measured.

    Args:
        path: the file.
        config: what was run.
        rows: the datasets that were read.
        suite: the evaluators, right after they measured ``after``.
        verdict: the outcome in a sentence.
        before: what the untrained model scored, by evaluator; may be empty.
        after: what is reported, by evaluator.
        run: the run it belongs to, whose metrics and environment are shown.
    """
    data = ReportData(
        title=config.run_name if run else config.model.name_or_path,
        verdict=verdict,
        after=after,
        before=before,
        created=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        metrics=run.metric_lines() if run else [],
        galleries=galleries(suite, before, after),
        data_card=data_card(config, rows),
        config_yaml=config_to_yaml(config),
        environment=_environment(run),
    )
    return write_report(path, data)


def _environment(run: RunFolder | None) -> dict[str, Any]:
    """Return what the run was begun with, or what is here now."""
    if run is None or not run.environment.is_file():
        return describe_environment([])
    return dict(json.loads(run.environment.read_text(encoding="utf-8")))


def galleries(
    suite: EvaluatorSuite, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]
) -> dict[str, Gallery]:
    """Return queries worth looking at, with what was found at the full and at the advised size."""
    found = {}
    for name, evaluator in suite.retrievals.items():
        evaluation = after[name]
        compared = cell_to_compare(evaluation.result)
        shown = {evaluation.result.full.key, compared}
        hits = {cell.key: evaluator.hits(cell, HITS) for cell in evaluation.result.cells if cell.key in shown}
        with_hits = replace(evaluation, hits=hits)
        found[name] = build_gallery(with_hits, before.get(name), evaluator.retrieval, compared=compared)
    return found
