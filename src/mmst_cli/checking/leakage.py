"""Inputs that are in training and in evaluation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmst_cli.checking.findings import EXAMPLES, Checked, Example, Finding, counted
from mmst_cli.checking.groups import columns_of, first_cells
from mmst_cli.config.schema import Modality, Role


def find_leaks(checked: Checked) -> Iterator[Finding]:
    """Yield what training sets share with sets of evaluation."""
    training = [number for number, one in enumerate(checked.sets) if one.is_training]
    for train in training:
        for held_out in range(len(checked.sets)):
            if held_out not in training:
                yield from _leaks(checked, train, held_out)
                yield from _shared_anchors(checked, train, held_out)


def _documents(checked: Checked, number: int) -> list[int]:
    """Return the columns whose inputs must not be in training and evaluation: documents, and queries that are media."""
    anchors = columns_of(checked, number, Role.anchor)
    media = [column for column in anchors if checked.inputs(number)[column].modality is not Modality.text]
    return sorted({*columns_of(checked, number, Role.positive, Role.negative), *media})


def _leaks(checked: Checked, train: int, held_out: int) -> Iterator[Finding]:
    columns = _documents(checked, held_out)
    there = first_cells(checked, held_out, columns)
    exact = first_cells(checked, held_out, columns, near=False)
    examples: list[Example] = []
    rows: dict[int, str] = {}
    leaked: set[int] = set()
    for column in _documents(checked, train):
        groups, contents = checked.groups(train, column), checked.groups(train, column, near=False)
        for row in np.flatnonzero(np.isin(groups, list(there))).tolist():
            other, same = there[groups[row]], contents[row] in exact
            name, how = checked.sets[held_out].name, "identical" if same else "nearly identical"
            leaked.add(int(groups[row]))
            rows.setdefault(row, f"{how} to {checked.place(*other)}")
            if len(examples) < EXAMPLES:
                examples.append(checked.example((train, column, row), other, note=how))
    if rows:
        name = checked.sets[held_out].name
        identical = sum(reason.startswith("identical") for reason in rows.values())
        yield checked.finding(
            "leakage",
            train,
            rows,
            f"{counted(len(rows), 'row')} hold what {name} is evaluated on: {counted(len(leaked), 'input')} of it,"
            f" identical in {counted(identical, 'row')}, nearly so in {len(rows) - identical:,}.",
            f"The score on {name} says less than it seems to. Remove the rows from training.",
            examples,
        )


def _shared_anchors(checked: Checked, train: int, held_out: int) -> Iterator[Finding]:
    anchors = [columns_of(checked, number, Role.anchor) for number in (train, held_out)]
    texts = [
        [column for column in columns if checked.inputs(number)[column].modality is Modality.text]
        for number, columns in zip((train, held_out), anchors, strict=True)
    ]
    there = first_cells(checked, held_out, texts[1])
    cells = [
        (train, column, row)
        for column in texts[0]
        for row in np.flatnonzero(np.isin(checked.groups(train, column), list(there))).tolist()
    ]
    if cells:
        shown = [
            checked.example(cell, there[int(checked.groups(train, cell[1])[cell[2]])]) for cell in cells[:EXAMPLES]
        ]
        name = checked.sets[held_out].name
        yield Finding(
            "shared-anchors",
            checked.sets[train].name,
            None,
            len(cells),
            len(checked.sets[train].rows),
            f"{counted(len(cells), 'anchor')} of training are queries of {name} as well.",
            "Fine where many documents answer one query; otherwise split the data by query.",
            shown,
        )
