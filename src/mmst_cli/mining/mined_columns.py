"""The columns that mining adds, and how to train on them: a command, or columns for a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from mmst_cli.config.load import as_yaml
from mmst_cli.config.rules_mining import MINED_SCORES, negative_names
from mmst_cli.config.schema import ColumnConfig, DatasetConfig, Role
from mmst_cli.errors import DataError
from mmst_cli.rows.columns import Column
from mmst_cli.shell_words import joined

TEACHER_SCORES = "teacher_scores"
LABEL = {"role": "label"}


@dataclass(frozen=True)
class NewColumns:
    """The columns that mining adds.

    Attributes:
        negatives: name of each negative, to the stored columns it is made of: source column to new column.
        scores: the column of scores.
    """

    negatives: dict[str, dict[str, str]]
    scores: str


def new_columns(taken: Sequence[str], positive: Column, count: int) -> NewColumns:
    """Name the columns that are added to those that are there.

    A positive that is one stored column becomes one column a negative; one that is made of several becomes as many,
    each by its own name behind that of the negative.

    Raises:
        DataError: a column is there that a new one would be called.
    """
    names = negative_names(taken, count)
    single = len(positive.sources) == 1 and not positive.message and not positive.parts
    negatives = {
        name: {source: name if single else f"{name}_{source}" for source in positive.sources} for name in names
    }
    scores = next((name for name in MINED_SCORES if name not in taken), None)
    added = [new for sources in negatives.values() for new in sources.values()]
    if clash := next((name for name in added if name in taken), None):
        raise DataError(f"the data have a column {clash}, which a mined negative would be called. Rename it.")
    if scores is None:
        raise DataError(f"the data have columns {' and '.join(MINED_SCORES)}. Rename one of them.")
    return NewColumns(negatives, scores)


def training_command(
    config: Path,
    overrides: list[str],
    name: str,
    section: DatasetConfig,
    output: Path,
    added: NewColumns,
    *,
    of_scores: bool = False,
) -> str:
    """Return the command that trains as a config says, on the new file instead of the rows it was mined in.

    Args:
        config: the file.
        overrides: its changes.
        name: the dataset.
        section: of it.
        output: the new file.
        added: the columns that it has more.
        of_scores: whether the loss takes the scores.
    """
    key = f"datasets.{name}"
    changes = {f"{key}.path": as_yaml(str(output))}
    for field in ("name", "revision", "sql", "max_rows", "mine"):
        if getattr(section, field) is not None:
            changes[f"{key}.{field}"] = "null"
    if section.split != "train":
        changes[f"{key}.split"] = "train"
    positive = next(column for column, declared in section.columns.items() if declared.role is Role.positive)
    if section.columns[positive].take is not None:
        changes[f"{key}.columns.{positive}.take"] = "null"
    changes |= {f"{key}.columns.{new}": as_yaml(column) for new, column in negative_columns(section, added).items()}
    if of_scores and _scores_all(section):
        changes[f"{key}.columns.{added.scores}"] = as_yaml(LABEL)
    return joined(["mmst", "train", str(config), *overrides, *(f"{k}={v}" for k, v in changes.items())])


def dataset_section(section: DatasetConfig, output: Path, added: NewColumns) -> str:
    """Return the new file as a section for a config, in YAML."""
    declared = {name: _plain(column) for name, column in section.columns.items()} | negative_columns(section, added)
    lines = [_section("train", output, declared)]
    if _scores_all(section):
        lines.append(f"      # {as_yaml(added.scores)}: {as_yaml(LABEL)}   # with DistillKLDivLoss or MarginMSELoss")
    return "\n".join(lines)


def scored_section(name: str, section: DatasetConfig, output: Path, scores: str) -> str:
    """Return a file with a column of scores as a section for a config, in YAML."""
    declared = {name: column.model_dump(mode="json", exclude_defaults=True) for name, column in section.columns.items()}
    return _section(name, output, {**declared, scores: LABEL})


def _section(name: str, output: Path, columns: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["datasets:", f"  {as_yaml(name)}:", "    use: train", f"    path: {as_yaml(str(output))}", "    columns:"]
    return "\n".join([*lines, *(f"      {as_yaml(name)}: {as_yaml(column)}" for name, column in columns.items())])


def _scores_all(section: DatasetConfig) -> bool:
    """Whether the scores are of all documents of a row: of the negatives that it had before there are none."""
    return all(column.role is not Role.negative for column in section.columns.values())


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
