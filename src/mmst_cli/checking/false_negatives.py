"""How often a batch would hold a document that answers another row's anchor, and push the two apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mmst_cli.checking.checked_sets import Numbers
from mmst_cli.checking.findings import EXAMPLES, Checked, Example, Finding, counted, row_groups
from mmst_cli.config.rules_loss import DUPLICATE_FREE, loss_keys, loss_layers
from mmst_cli.config.schema import Config, Role

BATCHES = 2000  # drawn to see how often one holds a false negative
_IN_BATCH = ("NegativesRanking", "GIST", "InfoNCE")  # in the names of losses that take other rows for negatives


def find_false_negatives(config: Config, checked: Checked) -> Iterator[Finding]:
    """Yield, for each training set whose loss has in-batch negatives, how often one of them would be false."""
    keys = loss_keys(config)
    for number, one in enumerate(checked.sets):
        layers = loss_layers(config, keys[one.name]) if one.name in keys else []
        if one.is_training and any(word in layer.type for layer in layers for word in _IN_BATCH):
            yield from _false_negatives(config, checked, number)


def _false_negatives(config: Config, checked: Checked, number: int) -> Iterator[Finding]:
    roles = [column.role for column in checked.inputs(number)]
    sides = {role: [place for place, own in enumerate(roles) if own is role] for role in (Role.anchor, Role.positive)}
    if not all(sides.values()):
        return
    near = {role: row_groups(checked, number, columns) for role, columns in sides.items()}
    sampler = str(config.training.get("batch_sampler", "batch_sampler"))
    clashing = _clashing(near[Role.anchor], near[Role.positive])
    if not len(clashing):
        return
    size = int(config.training.get("per_device_train_batch_size", 8))
    # Such a sampler keeps what is identical apart, and nothing else.
    keeps_apart = sampler in DUPLICATE_FREE
    kept_apart = [_exact_groups(checked, number, columns) for columns in sides.values()] if keeps_apart else None
    share = _share_of_batches(list(near.values()), kept_apart, size)
    if keeps_apart and not share:
        return
    advice = (
        "Remove near duplicates from training."
        if keeps_apart
        else "training.batch_sampler: no_duplicates keeps identical ones apart."
    )
    yield Finding(
        "false-negatives",
        checked.sets[number].name,
        None,
        len(clashing),
        len(checked.sets[number].rows),
        f"{counted(len(clashing), 'row')} share a positive with another anchor, or an anchor with another positive:"
        f" a batch of {size} rows holds such a pair in {share:.1%} of {BATCHES:,} drawn at random"
        f"{' by ' + sampler if keeps_apart else ''}.",
        advice,
        _examples(checked, number, near[Role.positive], sides[Role.positive][0]),
    )


def _exact_groups(checked: Checked, number: int, columns: list[int]) -> Numbers:
    keys = np.stack([checked.groups(number, column, near=False) for column in columns], axis=1)
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    found: Numbers = inverse.reshape(-1)
    return found


def _clashing(*sides: Numbers) -> Numbers:
    """Return the rows that share a group with another row on either side."""
    marked = np.zeros(len(sides[0]), dtype=bool)
    for groups in sides:
        values, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
        marked |= (counts[inverse] > 1) & (values[inverse] >= 0)
    return np.flatnonzero(marked)


def _share_of_batches(near: list[Numbers], kept_apart: list[Numbers] | None, size: int) -> float:
    """Return the share of batches, drawn at random, in which two rows are of one group."""
    rng = np.random.default_rng(0)
    count = len(near[0])
    met = 0
    for _ in range(BATCHES):
        rows = rng.choice(count, min(size, count), replace=False)
        if kept_apart is not None:
            rows = _without_repeats(rows, kept_apart)
        met += any(_repeats(groups[rows]) for groups in near)
    return met / BATCHES


def _without_repeats(rows: Numbers, sides: list[Numbers]) -> Numbers:
    for groups in sides:
        rows = rows[np.sort(np.unique(groups[rows], return_index=True)[1])]
    return rows


def _repeats(groups: Numbers) -> bool:
    known = groups[groups >= 0]
    return len(np.unique(known)) < len(known)


def _examples(checked: Checked, number: int, groups: Numbers, column: int) -> list[Example]:
    """Return rows with the same positive, with their anchors."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups.tolist()):
        if group >= 0:
            rows[group].append(row)
    anchor = next(place for place, one in enumerate(checked.inputs(number)) if one.role is Role.anchor)
    several = sorted((found for found in rows.values() if len(found) > 1), key=len, reverse=True)
    return [
        checked.example(
            (number, column, found[0]),
            *((number, anchor, row) for row in found[:3]),
            note=f"one positive of {len(found)} anchors",
        )
        for found in several[:EXAMPLES]
    ]
