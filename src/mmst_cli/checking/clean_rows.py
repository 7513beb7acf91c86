"""The rows that remain without those that were found to be faulty, and for each that doesn't, why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmst_cli.checking.findings import Checked, Finding
from mmst_cli.config.schema import Config, Layout
from mmst_cli.errors import ConfigError
from mmst_cli.rows.table_writing import write_rows
from mmst_cli.sources.tables import load_rows
from mmst_cli.storage import write_text


@dataclass(frozen=True)
class Cleaned:
    """What was written."""

    path: Path
    dataset: str
    kept: int
    dropped: int
    reasons: Path
    """A line for each row that was left out: its number in the source, the kind of fault, and why."""


def choose_dataset(config: Config, name: str | None) -> str:
    """Return the dataset that is cleaned: the one that is named, or the only one to train on.

    Raises:
        ConfigError: there is no such dataset, or several and none is named; or it can't be written as rows.
    """
    training = [key for key, section in config.datasets.items() if str(section.use) == "train"]
    if name is None and len(training) != 1:
        raise ConfigError(f"--dataset: name the one to write: {', '.join(config.datasets)}.")
    name = name or training[0]
    if name not in config.datasets:
        raise ConfigError(f"--dataset: {name}: the config has {', '.join(config.datasets)}.")
    section = config.datasets[name]
    if section.layout is Layout.beir:
        raise ConfigError(f"--dataset: {name}: layout beir is three tables, and only rows are written. Name another.")
    if section.streaming:
        raise ConfigError(f"--dataset: {name}: a stream isn't looked at as a whole. Set streaming: false to clean it.")
    return name


def reasons_path(target: Path) -> Path:
    """Return where it is said why rows were left out."""
    return target.with_name(f"{target.stem}.dropped.jsonl")


def write_clean(
    config: Config, checked: Checked, findings: Sequence[Finding], name: str, kinds: Sequence[str], target: Path
) -> Cleaned:
    """Write the rows of a dataset that have none of these faults, with all columns of the source.

    Media are written as the source has them: what is embedded stays so, and a file is named by a path that leads
    there from the new file's folder.

    Args:
        config: the config.
        checked: what was examined.
        findings: what was found.
        name: the dataset.
        kinds: kinds of findings whose rows are left out.
        target: the parquet file.
    """
    number = next(place for place, one in enumerate(checked.sets) if one.name == name)
    dropped = _dropped(checked, number, [one for one in findings if one.dataset == name and one.kind in kinds])
    section = config.datasets[name].model_copy(update={"max_rows": None})
    rows = load_rows(name, section, config.seed)
    examined = sorted(set(checked.source_rows(number).tolist()))
    kept = [row for row in examined if row not in dropped]
    declared = checked.sets[number].rows
    write_rows(rows.select(kept), declared.columns, declared.reader, target)
    lines = [_line(row, kind, reason) for row, (kind, reason) in sorted(dropped.items())]
    write_text(reasons_path(target), "".join(lines))
    return Cleaned(target, name, len(kept), len(dropped), reasons_path(target))


def _dropped(checked: Checked, number: int, findings: Sequence[Finding]) -> dict[int, tuple[str, str]]:
    """Return row in the source to the kind and reason of its worst fault."""
    dropped: dict[int, tuple[str, str]] = {}
    for finding in sorted(findings, key=lambda one: one.harm):
        for row, reason in finding.rows.items():
            dropped.setdefault(checked.source_row(number, row), (finding.kind, reason))
    return dropped


def _line(row: int, kind: str, reason: str) -> str:
    return json.dumps({"row": row, "kind": kind, "reason": reason}, ensure_ascii=False) + "\n"
