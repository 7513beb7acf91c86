"""Faults of inputs that come again: rows twice, negatives that are positives, twins, evaluation in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mmst_cli.checking.findings import EXAMPLES, Checked, Example, Finding, columns_of, counted, first_cells, row_groups
from mmst_cli.config.schema import Fill, Modality, Role


def find_relations(checked: Checked) -> Iterator[Finding]:
    """Yield what is wrong between the inputs of each set."""
    for number, one in enumerate(checked.sets):
        yield from _duplicates(checked, number)
        yield from _own_positives(checked, number)
        yield from _repeated_negatives(checked, number)
        if not one.is_training:
            yield from _twins(checked, number)
            yield from _repeated_queries(checked, number)


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
    words = np.where(same, "identical", "nearly identical")
    shown = [
        checked.example((number, media, first[again[i]]), (number, media, again[i]), note=str(words[i]))
        for i in np.argsort(same, kind="stable")[:EXAMPLES]
    ]
    rows = {
        int(row): f"{word} to row {checked.source_row(number, first[row])}"
        for row, word in zip(again, words, strict=True)
    }
    yield checked.finding(
        "duplicates",
        number,
        rows,
        f"{counted(len(again), 'row')} repeat an earlier one: {int(same.sum()):,} in everything, "
        f"{int((~same).sum()):,} but for encoding, size, a cut or other writing.",
        "Each counts twice, and in one batch as a wrong answer to itself. Remove them.",
        shown,
    )


def _positives_of(checked: Checked, number: int) -> list[set[int]]:
    """Return for each row the groups of all positives of its anchor."""
    columns = columns_of(checked, number, Role.positive)
    anchors = columns_of(checked, number, Role.anchor)
    own = np.stack([checked.groups(number, column) for column in columns], axis=1)
    first = row_groups(checked, number, anchors) if anchors else np.arange(len(own))
    of: dict[int, set[int]] = defaultdict(set)
    for row, group in enumerate(first.tolist()):
        of[group if group >= 0 else -1 - row] |= set(own[row].tolist()) - {-1}
    return [of[group if group >= 0 else -1 - row] for row, group in enumerate(first.tolist())]


def _own_negatives(checked: Checked, number: int) -> list[int]:
    """Return the columns of negatives but for those that are filled up with what stands there on purpose."""
    inputs = checked.inputs(number)
    return [
        place
        for place in columns_of(checked, number, Role.negative)
        if (filled := inputs[place].filled) is None or filled.how is Fill.sample
    ]


def _own_positives(checked: Checked, number: int) -> Iterator[Finding]:
    negatives = _own_negatives(checked, number)
    positives = columns_of(checked, number, Role.positive)
    if not negatives or not positives:
        return
    of = _positives_of(checked, number)
    own = np.stack([checked.groups(number, place) for place in positives], axis=1)
    rows: dict[int, str] = {}
    shown: list[Example] = []
    for column in negatives:
        name = checked.inputs(number)[column].name
        for row, group in enumerate(checked.groups(number, column).tolist()):
            if group in of[row]:
                whose = "its own positive" if group in own[row] else "a positive of the same anchor"
                rows.setdefault(row, f"{name} is {whose}")
                if len(shown) < EXAMPLES:
                    shown.append(checked.example((number, positives[0], row), (number, column, row), note=rows[row]))
    if rows:
        yield checked.finding(
            "own-positive",
            number,
            rows,
            f"{counted(len(rows), 'row')} have a negative that is, or nearly is, a positive of their own anchor.",
            "The loss pushes the right answer away. Replace these negatives, or remove the rows.",
            shown,
        )


def _repeated_negatives(checked: Checked, number: int) -> Iterator[Finding]:
    negatives = _own_negatives(checked, number)
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
        yield checked.finding(
            "repeated-negatives",
            number,
            rows,
            f"{counted(len(rows), 'row')} have the same, or nearly the same, negative twice.",
            "It counts double. Replace one of the two.",
            shown,
        )


def _twins(checked: Checked, number: int) -> Iterator[Finding]:
    """Yield documents of an evaluation that are nearly, not exactly, another: identical ones count once there."""
    columns = columns_of(checked, number, Role.positive, Role.negative)
    first = first_cells(checked, number, columns)
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


def _repeated_queries(checked: Checked, number: int) -> Iterator[Finding]:
    """Yield the rows of an evaluation that ask what an earlier one asks: retrieval takes them for one query."""
    rows = checked.sets[number].rows
    anchors, positives = columns_of(checked, number, Role.anchor), columns_of(checked, number, Role.positive)
    if not anchors or not positives or rows.with_role(Role.label):
        return
    first: dict[int, int] = {}
    answers: dict[int, set[tuple[int, ...]]] = defaultdict(set)
    documents = np.stack([checked.contents.of[number, column] for column in positives], axis=1).tolist()
    again: dict[int, int] = {}
    for row, query in enumerate(checked.contents.of[number, anchors[0]].tolist()):
        answer, earlier = tuple(documents[row]), first.setdefault(query, row)
        is_other = checked.source_row(number, row) != checked.source_row(number, earlier)
        if is_other and answer not in answers[query]:
            again[row] = earlier
        answers[query].add(answer)
    if again:
        shown = [
            checked.example((number, positives[0], earlier), (number, positives[0], row))
            for row, earlier in list(again.items())[:EXAMPLES]
        ]
        count = len(set(again.values()))
        queries = "1 query" if count == 1 else f"{count:,} queries"
        yield Finding(
            "repeated-queries",
            checked.sets[number].name,
            None,
            len(again),
            len(rows),
            f"{counted(len(again), 'row')} repeat{'s' if len(again) == 1 else ''} the query of an earlier one"
            f" with another answer, for {queries} in all.",
            "Retrieval takes these rows for one query that each of the answers is right for. Nothing to do if so.",
            shown,
        )


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
            rows.setdefault(row, f"{how} to {checked.named(*other)}")
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
