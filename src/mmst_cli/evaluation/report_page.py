"""The report of a training run or an evaluation: one HTML file, from what is in memory and in the run folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.schema import Config
from mmst_cli.evaluation.evaluation_results import Evaluation, cell_to_compare
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite
from mmst_cli.evaluation.query_gallery import Gallery, build_gallery
from mmst_cli.evaluation.report_sections import ReportData, galleries, page_values
from mmst_cli.html.rendering import MAX_BYTES, page_bytes, render
from mmst_cli.retrieval.data_card import Rows, data_card
from mmst_cli.run_environment import describe_environment, without_secret
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import joined, program
from mmst_cli.storage import read_json, write_text

ROOM = 20_000  # bytes kept free for notes and rounding
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
        command=joined([program(), *map(without_secret, sys.argv[1:])]),
        metrics=run.metric_lines() if run else [],
        galleries=_chosen_queries(suite, before, after),
        data_card=data_card(config, rows),
        config_yaml=config_to_yaml(config),
        environment=(read_json(run.environment) if run else {}) or describe_environment([]),
        gate=read_json(run.gate) if run else {},
    )
    return write_report(path, data)


def _chosen_queries(
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


def write_report(path: Path, data: ReportData) -> Path:
    """Write the page, under 5 MB: the thumbnails of the lowest ranks are left out first, and a note says so."""
    values = page_values(data)
    bare = _render(values | galleries(data.galleries, -1))
    if page_bytes(bare) > MAX_BYTES - ROOM:
        return write_text(path, _render(values | galleries({}, -1, too_large=True)))
    shown = galleries(data.galleries, MAX_BYTES - ROOM - page_bytes(bare))
    return write_text(path, _render(values | shown))


def _render(values: Mapping[str, Any]) -> str:
    there = {
        "verdict": ("Verdict", True),
        "sizes": ("Sizes", values["evaluations"]),
        "training": ("Training", values["losses"]),
        "saved": ("Saved model", values["data"].gate),
        "gallery": ("Gallery", values["galleries"] or values["gallery_note"]),
        "data": ("Data", values["data"].data_card),
        "configuration": ("Configuration", values["config"]),
        "environment": ("Environment", values["environment"] or values["data"].command),
    }
    sections = [(anchor, name) for anchor, (name, shown) in there.items() if shown]
    return render("mmst_cli.evaluation", "report.html", {**values, "sections": sections})
