"""check.html: what was found, in order of harm, with the inputs concerned side by side."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mmst_cli.checking.check_result import CheckResult
from mmst_cli.checking.check_summary import holds, verdict
from mmst_cli.checking.findings import Checked, Example, Finding, NamedCell
from mmst_cli.config.load import config_to_yaml
from mmst_cli.config.schema import Config
from mmst_cli.errors import excerpt
from mmst_cli.html.previews import EXCERPT, Preview, Value, preview
from mmst_cli.html.rendering import MAX_BYTES, page_bytes, render
from mmst_cli.storage import write_text

FEWER = (6, 4, 2, 1, 0)  # examples of a finding: as many as the page has room for


@dataclass(frozen=True)
class ShownCell:
    """An input as the page shows it."""

    name: NamedCell
    preview: Preview


@dataclass(frozen=True)
class ShownExample:
    """Inputs side by side."""

    cells: list[ShownCell]
    note: str


@dataclass(frozen=True)
class ShownFinding:
    """A finding with its examples as the page shows them."""

    finding: Finding
    examples: list[ShownExample]


def write_page(path: Path, result: CheckResult, config: Config, checked: Checked) -> Path:
    """Write the page, under 5 MB: with fewer examples where there are many findings."""
    shown = [
        ShownFinding(finding, [_show(checked, example) for example in finding.examples]) for finding in result.findings
    ]
    values: dict[str, Any] = {
        "title": f"{config.run_name}: data",
        "created": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "sections": [("verdict", "Verdict"), ("findings", "Findings"), ("data", "Data"), ("configuration", "Config")],
        "verdict": verdict(result),
        "columns": _columns(result),
        "texts": _common_texts(result),
        "config": config_to_yaml(config),
    }
    for most in FEWER:
        fewer = [ShownFinding(one.finding, one.examples[:most]) for one in shown]
        page = render("mmst_cli.checking", "check.html", {**values, "findings": fewer})
        if page_bytes(page) <= MAX_BYTES:
            break
    return write_text(path, page)


def _show(checked: Checked, example: Example) -> ShownExample:
    previews = [preview(partial(_read, checked, *cell)) for cell in example.cells]
    if example.note:  # which says why, where an input can't be shown
        previews = [one if one.jpeg or one.text else Preview() for one in previews]
    cells = [ShownCell(name, one) for name, one in zip(example.names, previews, strict=True)]
    return ShownExample(cells, excerpt(example.note, EXCERPT))


def _read(checked: Checked, number: int, column: int, row: int) -> Value:
    declared = checked.inputs(number)[column]
    return declared.modality, checked.sets[number].rows.value_at(declared, row)


def _columns(result: CheckResult) -> list[dict[str, Any]]:
    return [
        {"dataset": dataset, "name": name, "facts": facts, "holds": list(holds(facts))}
        for dataset, columns in result.columns.items()
        for name, facts in columns.items()
    ]


def _common_texts(result: CheckResult) -> list[dict[str, Any]]:
    return [
        {"dataset": dataset, "column": name, "text": excerpt(common["text"], 120), "rows": common["rows"]}
        for dataset, columns in result.columns.items()
        for name, facts in columns.items()
        for common in facts.get("most_common", ())
    ]
