"""How the inputs of a column are distributed: how many there are, how long, how large, in which languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from mmst_cli.checking.findings import EXAMPLES, Checked, Finding, counted, label_values
from mmst_cli.checking.processed_inputs import quantiles
from mmst_cli.config.schema import Modality, Role
from mmst_cli.errors import DataError
from mmst_cli.rows.cells import check_label
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.row_checks import empty_rows, rows_drawn_of
from mmst_cli.rows.stored_cells import rows_with_unusable_labels
from mmst_cli.sources.tables import choose_indices

COMMON = 5  # most common texts shown
DETECTED = 1000  # texts whose language is told at most
DETECTABLE, WORDS = 12, 4  # characters and words that takes: two words of English are told for Latin or Pidgin
# Thai to Burmese, Khmer, kana and Han; a curly quotation mark or a Vietnamese letter is in no such script.
_WITHOUT_SPACES = re.compile(r"[\u0e00-\u109f\u1780-\u17ff\u3040-\u9fff\U00020000-\U0003ffff]")
FEW_VALUES = 20  # different labels up to which each is counted
SKEWED = 0.95  # share of one label from which a balance is worth a word


def describe(checked: Checked) -> dict[str, dict[str, dict[str, Any]]]:
    """Return dataset to column to what it holds, as plain values."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for number, one in enumerate(checked.sets):
        columns = {column.name: _inputs(checked, number, place) for place, column in enumerate(one.inputs)}
        for label in one.rows.with_role(Role.label):
            columns[label.name] = _labels(label_values(one.rows, label))
        found[one.name] = columns
    return found


def _inputs(checked: Checked, number: int, place: int) -> dict[str, Any]:
    column, examined = checked.inputs(number)[place], checked.examined
    contents = checked.contents.of[number, place]
    rows = checked.examined_rows[number]
    places = checked.examined_of(number, place)[rows]
    facts: dict[str, Any] = {
        "role": str(column.role),
        "modality": "+".join(column.modalities),
        "rows": len(contents),
        "different": len(np.unique(contents)),
        "looked_at": len(rows),
    }
    if column.modality in (Modality.image, Modality.video):
        facts["width"] = quantiles(np.where(examined.width[places] > 0, examined.width[places], np.nan))
        facts["height"] = quantiles(np.where(examined.height[places] > 0, examined.height[places], np.nan))
    if column.modality in (Modality.audio, Modality.video):
        facts["seconds"] = quantiles(examined.length[places])
    if column.modality in (Modality.text, Modality.message, Modality.mixed):
        facts["characters"] = quantiles(examined.length[places])
    if column.modality is Modality.text:
        facts |= _texts(checked, number, place)
    return {name: value for name, value in facts.items() if value not in ({}, None)}


def _texts(checked: Checked, number: int, place: int) -> dict[str, Any]:
    rows, column = checked.sets[number].rows, checked.inputs(number)[place]
    values, first, counts = np.unique(checked.contents.of[number, place], return_index=True, return_counts=True)
    order = np.lexsort((values, -counts))[:COMMON]
    readable = checked.groups(number, place) >= 0
    common = [
        {"text": rows.value_at(column, int(first[i])), "rows": int(counts[i])}
        for i in order
        if counts[i] > 1 and readable[first[i]]
    ]
    there = np.flatnonzero(readable)
    sample = there[choose_indices(len(there), DETECTED, seed=0)]
    languages = _languages([rows.value_at(column, int(row)) for row in sample])
    return {"most_common": common or None, "languages": languages}


def _languages(texts: list[str]) -> dict[str, float] | None:
    """Return language code to its share, by the n-grams of py3langid; None without it or without words."""
    if find_spec("py3langid") is None:
        return None
    import py3langid

    found = Counter(py3langid.classify(text)[0] for text in texts if _is_tellable(text))
    found.pop("zxx", None)  # digits and the like, in no language
    total = sum(found.values())
    return {language: count / total for language, count in found.most_common()} if total else None


def _is_tellable(text: str) -> bool:
    """Say whether a text is long enough for its language; scripts without spaces are told by few characters."""
    return len(text) >= DETECTABLE and (_WITHOUT_SPACES.search(text) is not None or len(text.split()) >= WORDS)


def _labels(values: Any) -> dict[str, Any]:
    if values.dtype.kind == "U":  # lists of numbers
        return {"role": "label", "rows": len(values), "different": len(np.unique(values))}
    facts: dict[str, Any] = {"role": "label", "rows": len(values), "values": quantiles(values.astype(np.float64))}
    different, counts = np.unique(values, return_counts=True)
    if len(different) <= FEW_VALUES:
        facts["counts"] = {str(value): int(count) for value, count in zip(different, counts, strict=True)}
    return facts


def find_unusable_labels(checked: Checked) -> Iterator[Finding]:
    """Yield labels that are missing or are no finite numbers; all rows are looked at, for it takes no decoding."""
    for number, one in enumerate(checked.sets):
        for label in one.rows.with_role(Role.label):
            stored, source = one.rows.source, label.sources[0]
            unusable = rows_with_unusable_labels(stored, source) | empty_rows(stored, source)
            rows = sorted(rows_drawn_of(one.rows, unusable))
            if not rows:
                continue
            reasons = {row: f"{label.name}: {_why_unusable(one.rows, label, row)}" for row in rows}
            yield Finding(
                "broken",
                one.name,
                label.name,
                len(rows),
                len(one.rows),
                f"{counted(len(rows), 'label')} can't be learnt from.",
                "Mend them or leave the rows out; on_bad_row: skip leaves them out while training.",
                [checked.example((number, 0, row), note=reasons[row]) for row in rows[:EXAMPLES]],
                reasons,
            )


def _why_unusable(rows: RowSet, label: Column, row: int) -> str:
    stored = rows.narrow(label)
    try:
        check_label(stored.find(stored.rows[row], label.origin)[label.sources[0]], classes=label.classes)
    except DataError as error:
        return str(error)
    return "no number that a loss can be computed with."


def find_skewed_labels(described: dict[str, dict[str, dict[str, Any]]]) -> Iterator[Finding]:
    """Yield labels that are nearly always the same."""
    for dataset, columns in described.items():
        for name, facts in columns.items():
            counts = facts.get("counts")
            most = max(counts, key=lambda value: counts[value]) if counts else ""
            if counts and counts[most] >= SKEWED * facts["rows"]:
                yield Finding(
                    "labels",
                    dataset,
                    name,
                    counts[most],
                    facts["rows"],
                    f"{counts[most] / facts['rows']:.1%} of the labels are {most}.",
                    "A loss learns little from labels that hardly differ. Balance them, or weigh the rows.",
                )
