"""What a check finds: kinds of faults, how bad they are, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from mmst_cli.checking.contents import Contents, Numbers
from mmst_cli.checking.looks import Looks
from mmst_cli.checking.same import Same
from mmst_cli.checking.sets import CheckedSet
from mmst_cli.rows.columns import ROW, Column

EXAMPLES = 6  # kept of a finding


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
    "labels": Harm.note,
}
"""Kinds of findings in order of harm."""

DROPPED = (
    *("broken", "wrong-content", "leakage", "own-positive", "empty"),
    *("duplicates", "blank", "silence", "repeated-negatives", "extreme"),
)
"""Kinds whose rows are left out of cleaned data."""


@dataclass(frozen=True)
class Place:
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

    cells: list[tuple[int, int, int]]
    """Set, column and row of each."""
    places: list[Place]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        where = [{"dataset": place.dataset, "row": place.row, "column": place.column} for place in self.places]
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
    """Out of how many that were looked at."""
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
    """Everything that was looked at, ready to find faults in."""

    sets: Sequence[CheckedSet]
    contents: Contents
    looks: Looks
    same: Same
    looked: list[Numbers]
    """By set, the rows that were looked at in full."""
    _numbers: dict[int, Numbers] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def _place(self) -> Numbers:
        """Content to the place of its look; -1 where it wasn't looked at."""
        place = np.full(len(self.contents.first), -1)
        place[self.looks.content] = np.arange(len(self.looks))
        return place

    @cached_property
    def _usable(self) -> Numbers:
        """Which contents can be read, as far as was looked."""
        usable = np.ones(len(self.contents.first), dtype=bool)
        usable[self.looks.content[[i for i, error in enumerate(self.looks.error) if error]]] = False
        return usable

    def looks_of(self, number: int, column: int) -> Numbers:
        """Return for each row of a set the place of its look in :attr:`looks`; -1 where it wasn't looked at."""
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

    def place(self, number: int, column: int, row: int) -> Place:
        """Return a cell as people name it."""
        checked = self.sets[number]
        return Place(checked.name, self.source_row(number, row), checked.inputs[column].name)

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

    def example(self, *cells: tuple[int, int, int], note: str = "") -> Example:
        """Return a case made of cells, each a set, a column and a row."""
        plain = [(int(number), int(column), int(row)) for number, column, row in cells]
        return Example(plain, [self.place(*cell) for cell in plain], note)


def counted(count: int, what: str) -> str:
    """Return ``1 row`` or ``1,234 rows``."""
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
