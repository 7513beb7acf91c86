"""The page of a training run or an evaluation: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmst_cli.evaluation.gallery import Gallery
from mmst_cli.evaluation.report_sections import galleries, page_values
from mmst_cli.evaluation.results import Evaluation
from mmst_cli.html.rendering import MAX_BYTES, page_bytes, render
from mmst_cli.storage import write_text

ROOM = 20_000  # bytes kept free for notes and rounding


@dataclass(frozen=True)
class ReportData:
    """What a report shows; what is empty is left out.

    What to ship is read from each result's ``recommendation``.

    Attributes:
        title: the run or the model.
        verdict: the outcome in a sentence.
        after: evaluator to its evaluation, of the trained model or of the one that was evaluated.
        before: the same for the untrained model.
        created: when the page was made, for people.
        command: what was typed.
        metrics: the lines of metrics.jsonl.
        galleries: evaluator to queries worth looking at.
        data_card: a dict per dataset: name, used for, source, rows, columns, as they are to be read.
        config_yaml: the resolved config.
        environment: the content of environment.json.
    """

    title: str
    verdict: str
    after: Mapping[str, Evaluation] = field(default_factory=dict)
    before: Mapping[str, Evaluation] = field(default_factory=dict)
    created: str = ""
    command: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    galleries: Mapping[str, Gallery] = field(default_factory=dict)
    data_card: list[dict[str, Any]] = field(default_factory=list)
    config_yaml: str = ""
    environment: dict[str, Any] = field(default_factory=dict)


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
        "gallery": ("Gallery", values["galleries"] or values["gallery_note"]),
        "data": ("Data", values["data"].data_card),
        "configuration": ("Configuration", values["config"]),
        "environment": ("Environment", values["environment"] or values["data"].command),
    }
    sections = [(anchor, name) for anchor, (name, shown) in there.items() if shown]
    return render("mmst_cli.evaluation", "report.html", {**values, "sections": sections})
