"""Faults between inputs: pages of evaluation in training, rows that come twice, negatives that are positives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mmst_cli.checking.contents import Numbers
from mmst_cli.checking.findings import EXAMPLES, Checked, Example, Finding, counted
from mmst_cli.config.schema import Modality, Role

_Cell = tuple[int, int, int]  # set, column and row


def find_relations(checked: Checked) -> Iterator[Finding]:
    """Yield what is wrong between the inputs of rows and sets."""
    training = [number for number, one in enumerate(checked.sets) if one.is_training]
    evaluated = [number for number in range(len(checked.sets)) if number not in training]
    for train in training:
        for held_out in evaluated:
            yield from _leaks(checked, train, held_out)
            yield from _shared_anchors(checked, train, held_out)
    for number in range(len(checked.sets)):
        yield from _duplicates(checked, number)
        yield from _own_positives(checked, number)
        yield from _repeated_negatives(checked, number)
    for number in evaluated:
        yield from _twins(checked, number)


def _columns(checked: Checked, number: int, *roles: Role) -> list[int]:
    return [place for place, column in enumerate(checked.inputs(number)) if column.role in roles]


def _first_cells(checked: Checked, number: int, columns: list[int], *, near: bool = True) -> dict[int, _Cell]:
    """Return group to the first cell of these columns that is of it."""
    found: dict[int, _Cell] = {}
    for column in columns:
        groups, rows = np.unique(checked.groups(number, column, near=near), return_index=True)
        for one, row in zip(groups.tolist(), rows.tolist(), strict=True):
            if one >= 0:
                found.setdefault(one, (number, column, row))
    return found


def _documents(checked: Checked, number: int) -> list[int]:
    """Return the columns whose inputs must not be in training and evaluation: documents, and queries that are media."""
    anchors = _columns(checked, number, Role.anchor)
    media = [column for column in anchors if checked.inputs(number)[column].modality is not Modality.text]
    return sorted({*_columns(checked, number, Role.positive, Role.negative), *media})


def _leaks(checked: Checked, train: int, held_out: int) -> Iterator[Finding]:
    columns = _documents(checked, held_out)
    there = _first_cells(checked, held_out, columns)
    exact = _first_cells(checked, held_out, columns, near=False)
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
        yield Finding(
            "leakage",
            checked.sets[train].name,
            None,
            len(rows),
            len(checked.sets[train].rows),
            f"{counted(len(rows), 'row')} hold what {name} is evaluated on: {counted(len(leaked), 'input')} of it,"
            f" identical in {counted(identical, 'row')}, nearly so in {len(rows) - identical:,}.",
            f"The score on {name} says less than it seems to. Remove the rows from training.",
            examples,
            rows,
        )


def _shared_anchors(checked: Checked, train: int, held_out: int) -> Iterator[Finding]:
    anchors = [_columns(checked, number, Role.anchor) for number in (train, held_out)]
    texts = [
        [column for column in columns if checked.inputs(number)[column].modality is Modality.text]
        for number, columns in zip((train, held_out), anchors, strict=True)
    ]
    there = _first_cells(checked, held_out, texts[1])
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


def row_groups(checked: Checked, number: int, columns: list[int]) -> Numbers:
    """Return for each row of a set the first row whose inputs in these columns are nearly the same; -1 if unreadable.

    Rows that differ in a label are different.
    """
    groups = np.stack([checked.groups(number, column) for column in columns], axis=1)
    labels = checked.sets[number].rows.with_role(Role.label)
    values = [np.array(checked.sets[number].rows.rows[column.sources[0]]) for column in labels]
    keys = np.concatenate([groups, *(np.unique(v, return_inverse=True)[1][:, None] for v in values)], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    found = first[inverse.reshape(-1)]
    return np.where((groups >= 0).all(axis=1), found, -1)


def _duplicates(checked: Checked, number: int) -> Iterator[Finding]:
    checked_set = checked.sets[number]
    columns = list(range(len(checked.inputs(number))))
    first = row_groups(checked, number, columns)
    again = np.flatnonzero((first >= 0) & (first != np.arange(len(first))))
    is_corpus = checked_set.name.endswith(("/queries", "/corpus"))
    if not len(again) or is_corpus:
        return
    contents = np.stack([checked.groups(number, column, near=False) for column in columns], axis=1)
    same = (contents[again] == contents[first[again]]).all(axis=1)
    media = next((c for c in columns if checked.inputs(number)[c].modality is not Modality.text), columns[-1])
    # Near ones first: identical ones need no second look.
    shown = [
        checked.example(
            (number, media, first[again[i]]), (number, media, again[i]), note="identical" if same[i] else "nearly identical"
        )
        for i in np.argsort(same, kind="stable")[:EXAMPLES]
    ]
    rows = {
        int(row): f"{'identical' if one else 'nearly identical'} to row {checked.source_row(number, first[row])}"
        for row, one in zip(again, same.tolist(), strict=True)
    }
    yield Finding(
        "duplicates",
        checked_set.name,
        None,
        len(again),
        len(checked_set.rows),
        f"{counted(len(again), 'row')} repeat an earlier one: {int(same.sum()):,} in everything, "
        f"{int((~same).sum()):,} but for encoding, size, a cut or other writing.",
        "Each counts twice, and in one batch as a wrong answer to itself. Remove them.",
        shown,
        rows,
    )


def _positives_of(checked: Checked, number: int) -> list[set[int]]:
    """Return for each row the groups of all positives of its anchor."""
    columns = _columns(checked, number, Role.positive)
    anchors = _columns(checked, number, Role.anchor)
    own = np.stack([checked.groups(number, column) for column in columns], axis=1)
    first = row_groups(checked, number, anchors) if anchors else np.arange(len(own))
    of: dict[int, set[int]] = defaultdict(set)
    for row, group in enumerate(first.tolist()):
        of[group if group >= 0 else -1 - row] |= set(own[row].tolist()) - {-1}
    return [of[group if group >= 0 else -1 - row] for row, group in enumerate(first.tolist())]


def _own_positives(checked: Checked, number: int) -> Iterator[Finding]:
    negatives = _columns(checked, number, Role.negative)
    positives = _columns(checked, number, Role.positive)
    if not negatives or not positives:
        return
    of = _positives_of(checked, number)
    rows: dict[int, str] = {}
    shown: list[Example] = []
    for column in negatives:
        for row, group in enumerate(checked.groups(number, column).tolist()):
            if group in of[row]:
                name = checked.inputs(number)[column].name
                own = group in {int(checked.groups(number, place)[row]) for place in positives}
                rows.setdefault(row, f"{name} is {'its own positive' if own else 'a positive of the same anchor'}")
                if len(shown) < EXAMPLES:
                    shown.append(checked.example((number, positives[0], row), (number, column, row), note=rows[row]))
    if rows:
        yield Finding(
            "own-positive",
            checked.sets[number].name,
            None,
            len(rows),
            len(checked.sets[number].rows),
            f"{counted(len(rows), 'row')} have a negative that is, or nearly is, a positive of their own anchor.",
            "The loss pushes the right answer away. Replace these negatives, or remove the rows.",
            shown,
            rows,
        )


def _repeated_negatives(checked: Checked, number: int) -> Iterator[Finding]:
    negatives = _columns(checked, number, Role.negative)
    if len(negatives) < 2:
        return
    groups = np.stack([checked.groups(number, column) for column in negatives], axis=1)
    rows: dict[int, str] = {}
    shown: list[Example] = []
    for row, found in enumerate(groups.tolist()):
        first: dict[int, int] = {}
        for column, group in zip(negatives, found, strict=True):
            if group >= 0 and first.setdefault(group, column) != column and row not in rows:
                names = [checked.inputs(number)[place].name for place in (first[group], column)]
                rows[row] = f"{names[0]} and {names[1]} are the same"
                shown.append(checked.example((number, first[group], row), (number, column, row), note=rows[row]))
    if rows:
        yield Finding(
            "repeated-negatives",
            checked.sets[number].name,
            None,
            len(rows),
            len(groups),
            f"{counted(len(rows), 'row')} have the same, or nearly the same, negative twice.",
            "It counts double. Replace one of the two.",
            shown[:EXAMPLES],
            rows,
        )


def _twins(checked: Checked, number: int) -> Iterator[Finding]:
    """Yield documents of an evaluation that are nearly, not exactly, another: identical ones count once there."""
    columns = _columns(checked, number, Role.positive, Role.negative)
    first = _first_cells(checked, number, columns)
    shown: list[Example] = []
    seen: set[int] = set()
    for column in columns:
        near, exact = checked.groups(number, column), checked.groups(number, column, near=False)
        for row in np.flatnonzero((near >= 0) & (near != exact)).tolist():
            other = first[int(near[row])]
            if exact[row] not in seen and other != (number, column, row):
                seen.add(int(exact[row]))
                shown.append(checked.example(other, (number, column, row)))
    if seen:
        yield Finding(
            "twins",
            checked.sets[number].name,
            None,
            len(seen),
            len(checked.sets[number].rows) * len(columns),
            f"{counted(len(seen), 'document')} are nearly another one, but for encoding, size, a cut or other writing.",
            "Finding the twin of the right document counts as a miss. Remove one of the two, or make both right.",
            shown[:EXAMPLES],
        )
