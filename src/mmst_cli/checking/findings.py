"""What a check finds: kinds of faults, how bad they are, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mmst_cli.checking.checked_sets import CheckedSet, DistinctContents, Numbers
from mmst_cli.checking.examination import Examination
from mmst_cli.checking.same_inputs import SameContents
from mmst_cli.config.schema import Role
from mmst_cli.rows.columns import ROW, Column, RowSet

EXAMPLES = 6  # kept of a finding

Cell = tuple[int, int, int]
"""Set, column and row of a cell."""


class Harm(IntEnum):
    """How much a finding spoils, the worst first."""

    serious = 0
    """A run on these data fails, or its score means something else."""
    warning = 1
    """It costs quality or time."""
    note = 2
    """Worth knowing."""


KINDS = {
    "broken": Harm.serious,
    "refused": Harm.serious,
    "wrong-content": Harm.serious,
    "leakage": Harm.serious,
    "own-positive": Harm.serious,
    "empty": Harm.serious,
    "duplicates": Harm.warning,
    "blank": Harm.warning,
    "silence": Harm.warning,
    "false-negatives": Harm.warning,
    "repeated-negatives": Harm.warning,
    "truncated": Harm.warning,
    "extreme": Harm.warning,
    "shared-anchors": Harm.warning,
    "twins": Harm.warning,
    "repeated-queries": Harm.note,
    "labels": Harm.note,
}
"""Kinds of findings in order of harm."""

DROPPED = (
    *("broken", "refused", "wrong-content", "leakage", "own-positive", "empty"),
    *("duplicates", "blank", "silence", "repeated-negatives", "extreme"),
)
"""Kinds whose rows are left out of cleaned data."""


@dataclass(frozen=True)
class NamedCell:
    """A cell as people name it."""

    dataset: str
    row: int
    """Its number in the source, from 0."""
    column: str

    def __str__(self) -> str:
        return f"{self.dataset}.{self.column} row {self.row}"


@dataclass(frozen=True)
class Example:
    """One case of a finding: the cells to see side by side, and what is said of them."""

    cells: list[Cell]
    names: list[NamedCell]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        where = [{"dataset": name.dataset, "row": name.row, "column": name.column} for name in self.names]
        return {"cells": where, "note": self.note}


@dataclass(frozen=True)
class Finding:
    """One kind of fault in one place."""

    kind: str
    dataset: str
    column: str | None
    count: int
    """Rows, or what ``sentence`` counts."""
    of: int
    """Out of how many that were examined."""
    sentence: str
    advice: str
    examples: list[Example] = field(default_factory=list)
    rows: dict[int, str] = field(default_factory=dict, repr=False)
    """Row of the set, as it is drawn, to the reason: all that are concerned, for cleaning."""

    @property
    def harm(self) -> Harm:
        """How bad it is."""
        return KINDS[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = {name: getattr(self, name) for name in ("kind", "dataset", "column", "count", "of")}
        return {
            **plain,
            "harm": self.harm.name,
            "sentence": self.sentence,
            "advice": self.advice,
            "examples": [example.to_dict() for example in self.examples],
        }


@dataclass(frozen=True)
class Checked:
    """Everything that was examined, ready to find faults in."""

    sets: Sequence[CheckedSet]
    contents: DistinctContents
    examined: Examination
    same: SameContents
    examined_rows: list[Numbers]
    """By set, the rows that were examined in full."""
    _numbers: dict[int, Numbers] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _place(self) -> Numbers:
        """Content to its place in :attr:`examined`; -1 where it wasn't examined."""
        place = np.full(len(self.contents.first), -1)
        place[self.examined.content] = np.arange(len(self.examined))
        return place

    @cached_property
    def _usable(self) -> Numbers:
        """Which contents can be read, as far as they were examined."""
        usable = np.ones(len(self.contents.first), dtype=bool)
        usable[self.examined.content[[i for i, error in enumerate(self.examined.error) if error]]] = False
        return usable

    def examined_of(self, number: int, column: int) -> Numbers:
        """Return for each row of a set the place of its content in :attr:`examined`; -1 where it wasn't."""
        found: Numbers = self._place[self.contents.of[number, column]]
        return found

    def groups(self, number: int, column: int, *, near: bool = True) -> Numbers:
        """Return for each row of a set the content it is (nearly) the same as; -1 where it can't be read."""
        contents = self.contents.of[number, column]
        same = self.same.near if near else self.same.exact
        return np.where(self._usable[contents], same[contents], -1)

    def inputs(self, number: int) -> list[Column]:
        """Return the input columns of a set."""
        return self.sets[number].inputs

    def named(self, number: int, column: int, row: int) -> NamedCell:
        """Return a cell as people name it."""
        checked = self.sets[number]
        return NamedCell(checked.name, self.source_row(number, row), checked.inputs[column].name)

    def source_row(self, number: int, row: int) -> int:
        """Return the number that a drawn row has in its source."""
        return int(self.source_rows(number)[row])

    def source_rows(self, number: int) -> Numbers:
        """Return the number that each row of a set has in its source."""
        if number not in self._numbers:
            rows = self.sets[number].rows.rows
            known = ROW in rows.column_names
            self._numbers[number] = np.array(rows[ROW]) if known else np.arange(len(rows))
        return self._numbers[number]

    def finding(
        self, kind: str, number: int, rows: dict[int, str], sentence: str, advice: str, examples: list[Example]
    ) -> Finding:
        """Return a finding about rows of a set, each with its reason."""
        one = self.sets[number]
        return Finding(kind, one.name, None, len(rows), len(one.rows), sentence, advice, examples[:EXAMPLES], rows)

    def example(self, *cells: Cell, note: str = "") -> Example:
        """Return a case made of cells, each a set, a column and a row."""
        plain = [(int(number), int(column), int(row)) for number, column, row in cells]
        return Example(plain, [self.named(*cell) for cell in plain], note)


def counted(count: int, what: str) -> str:
    """Return ``1 row`` or ``1,234 rows``."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def columns_of(checked: Checked, number: int, *roles: Role) -> list[int]:
    """Return the places of the input columns of these roles."""
    return [place for place, column in enumerate(checked.inputs(number)) if column.role in roles]


def first_cells(checked: Checked, number: int, columns: list[int], *, near: bool = True) -> dict[int, Cell]:
    """Return group to the first cell of these columns that is of it."""
    found: dict[int, Cell] = {}
    for column in columns:
        groups, rows = np.unique(checked.groups(number, column, near=near), return_index=True)
        for one, row in zip(groups.tolist(), rows.tolist(), strict=True):
            if one >= 0:
                found.setdefault(one, (number, column, row))
    return found


def label_values(rows: RowSet, label: Column) -> npt.NDArray[Any]:
    """Return the labels of all rows, shape (rows,); NaN where there is none, texts where they are lists of numbers."""
    cells = list(rows.rows[label.sources[0]])
    if any(isinstance(cell, list) for cell in cells):
        return np.array([str(cell) for cell in cells])
    values = np.array(cells)
    return values.astype(np.float64) if values.dtype == object else values


def row_groups(checked: Checked, number: int, columns: list[int]) -> Numbers:
    """Return for each row of a set the first row whose inputs in these columns are nearly the same; -1 if unreadable.

    Rows that differ in a label are different.
    """
    groups = np.stack([checked.groups(number, column) for column in columns], axis=1)
    labels = checked.sets[number].rows.with_role(Role.label)
    values = [label_values(checked.sets[number].rows, column) for column in labels]
    keys = np.concatenate([groups, *(np.unique(v, return_inverse=True)[1][:, None] for v in values)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    found = first[inverse.reshape(-1)]
    return np.where((groups >= 0).all(axis=1), found, -1)
