"""The page of `mmst runs --html`: scores, keys that differ, and curves of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmst_cli.errors import RunError
from mmst_cli.evaluation.loss_chart import runs_chart
from mmst_cli.evaluation.report_sections import two_widths
from mmst_cli.evaluation.run_overview import COLUMNS, WORDS, RunSummary, cells_of, compare_command
from mmst_cli.evaluation.svg_figures import CHART_CSS
from mmst_cli.html.rendering import render
from mmst_cli.runs import RunFolder
from mmst_cli.storage import write_text


def write_runs_page(
    path: Path,
    runs: Sequence[RunFolder],
    summaries: Sequence[RunSummary],
    differing: Mapping[str, Sequence[Any]],
    *,
    overwrite: bool = False,
) -> Path:
    """Write a page about several runs and return where.

    Args:
        path: the file.
        runs: the runs.
        summaries: what they recorded.
        differing: key to the values of all runs.
        overwrite: replace a file that is there.

    Raises:
        RunError: there is one.
    """
    if path.exists() and not overwrite:
        raise RunError(f"--html: {path} exists. Add --overwrite, or name another file.")
    recorded = {
        summary.run: (run.metric_lines(), {score.evaluator: score.metric for score in summary.scores})
        for run, summary in zip(runs, summaries, strict=True)
    }
    values = {
        "title": "Runs side by side",
        "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "sections": [("scores", "Scores"), ("differences", "What differs"), ("curves", "Curves")],
        "chart_css": Markup(CHART_CSS),
        "columns": COLUMNS,
        "words": WORDS,
        "rows": [row for summary in summaries for row in cells_of(summary)],
        "runs": [summary.run for summary in summaries],
        "differing": [(key, ["-" if one is None else one for one in found]) for key, found in differing.items()],
        "command": compare_command(runs),
        "curves": two_widths(runs_chart, recorded),
    }
    return write_text(path, render("mmst_cli.evaluation", "runs.html", values))
