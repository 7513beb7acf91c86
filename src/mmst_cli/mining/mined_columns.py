"""How to train on what was mined: a command, or columns for a config."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Role
from mmst_cli.mining.mined_output import NewColumns


def training_command(
    config: Path, overrides: list[str], name: str, section: DatasetConfig, output: Path, added: NewColumns
) -> str:
    """Return the command that trains as a config says, on the new file instead of the rows it was mined in."""
    key = f"datasets.{name}"
    changes = {f"{key}.path": str(output)}
    for field in ("name", "revision", "sql", "max_rows", "mine"):
        if getattr(section, field) is not None:
            changes[f"{key}.{field}"] = "null"
    if section.split != "train":
        changes[f"{key}.split"] = "train"
    positive = next(column for column, declared in section.columns.items() if declared.role is Role.positive)
    if section.columns[positive].take is not None:
        changes[f"{key}.columns.{positive}.take"] = "null"
    changes |= {f"{key}.columns.{new}": _flow(column) for new, column in negative_columns(section, added).items()}
    return shlex.join(["mmst", "train", str(config), *overrides, *(f"{k}={v}" for k, v in changes.items())])


def dataset_section(section: DatasetConfig, output: Path, added: NewColumns) -> str:
    """Return the new file as a section for a config, in YAML."""
    declared = {name: _plain(column) for name, column in section.columns.items()} | negative_columns(section, added)
    lines = ["datasets:", "  train:", "    use: train", f"    path: {output}", "    columns:"]
    return "\n".join([*lines, *(f"      {name}: {_flow(column)}" for name, column in declared.items())])


def negative_columns(section: DatasetConfig, added: NewColumns) -> dict[str, dict[str, Any]]:
    """Return the sections of the columns of negatives: as the positive is declared, of their own stored columns."""
    positive = next(column for column in section.columns.values() if column.role is Role.positive)
    return {name: {"role": "negative", **_renamed(positive, sources)} for name, sources in added.negatives.items()}


def _renamed(positive: ColumnConfig, sources: Mapping[str, str]) -> dict[str, Any]:
    if positive.parts:
        return {"parts": {modality: sources[name] for modality, name in positive.parts.items()}}
    if positive.message:
        return {"message": [_message(message, sources) for message in positive.message]}
    return {"modality": str(positive.modality)}


def _message(message: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": _text(content, sources)}
    parts = [
        {kind: _text(v, sources) if kind == "text" else sources.get(v, v) for kind, v in part.items()}
        for part in content
    ]
    return {**message, "content": parts}


def _text(template: str, sources: Mapping[str, str]) -> str:
    pieces = []
    for literal, name, _, _ in Formatter().parse(template):
        pieces.append(literal.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            pieces.append(f"{{{sources[name]}}}")
    return "".join(pieces)


def _plain(column: ColumnConfig) -> dict[str, Any]:
    """Return the section of a column whose cells are one input each."""
    if column.parts or column.message:
        made = {"parts": dict(column.parts)} if column.parts else {"message": [dict(m) for m in column.message]}
        return {"role": str(column.role), **made}
    return {"role": str(column.role), "modality": str(column.modality)}


def _flow(value: Mapping[str, Any]) -> str:
    """Write a mapping as YAML on one line."""
    import yaml  # type: ignore[import-untyped]

    return str(yaml.safe_dump(dict(value), default_flow_style=True, sort_keys=False, width=10_000)).strip()
