"""Whether the labels of pairs are what a loss would take them for: how well the two belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmst_cli.config.schema import DatasetConfig, Modality, Role
from mmst_cli.drafting.column_contents import Contents
from mmst_cli.drafting.column_roles import Guesses, plain_name
from mmst_cli.drafting.seen_tables import MANY, distinct_values
from mmst_cli.errors import ConfigError

_GRADES = re.compile(r"(.*_)?(score|similarity|relevance|relatedness|rating|grade)s?")
_VERDICTS = re.compile(r"(.*_)?(labels?|relation|verdict|judge?ment|entailment|class|category)")
_SHOWN = 5


def check_pairs(data: str, section: DatasetConfig, guesses: Guesses) -> Guesses:
    """Return the columns of pairs, without a label that is the same in all rows.

    All rows are looked at: they may be sorted by their labels.

    Args:
        data: as the user names it, for messages.
        section: says where it is.
        guesses: the columns.

    Raises:
        ConfigError: the label may be a class, or another column may say which pairs don't belong together.
    """
    if not guesses.with_role(Role.positive) or guesses.with_role(Role.negative):
        return guesses
    labels = guesses.with_role(Role.label)
    if not labels:
        _refuse_verdicts(data, section, guesses.left)
        return guesses
    label = labels[0].contents
    values = distinct_values(section, label.name)
    if len(values) == 1:
        used = [guess for guess in guesses.used if guess.role is not Role.label]
        return replace(guesses, used=used, left=[*guesses.left, label])
    classes = 2 < len(values) < MANY and all(isinstance(value, int) for value in values)
    if classes and not _GRADES.fullmatch(plain_name(label.name)):
        raise ConfigError(
            f"--from: {data}: it could not be told whether {label.name}, which is {_listed(values)}, says how well a"
            " pair belongs together, or of which class it is. Rename it score if it is the first; else leave out the"
            " pairs that don't belong together, and the column."
        )
    return guesses


def _refuse_verdicts(data: str, section: DatasetConfig, columns: Sequence[Contents]) -> None:
    """Raise where words beside pairs may say that some don't belong together, as `contradiction` does."""
    for column in columns:
        if column.kind is not Modality.text or column.lists or not _VERDICTS.fullmatch(plain_name(column.name)):
            continue
        values = distinct_values(section, column.name)
        if 1 < len(values) < MANY:
            raise ConfigError(
                f"--from: {data}: it could not be told what {column.name}, which is {_listed(values)}, says of a pair."
                " Leave out the pairs that don't belong together, and the column; or write a number as score."
            )


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return f"{shown}, ..." if len(values) > _SHOWN else shown
