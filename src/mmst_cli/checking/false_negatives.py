"""How often a batch would hold a document that answers another row's anchor, and push the two apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmst_cli.checking.checked_sets import Numbers
from mmst_cli.checking.findings import EXAMPLES, Checked, Example, Finding, counted, row_groups
from mmst_cli.config.rules_loss import DUPLICATE_FREE, loss_keys, loss_layers
from mmst_cli.config.schema import Config, Role

BATCHES = 2000  # drawn to see how often one holds a false negative
_TRIED = 4  # rows looked at for each of a batch that repeats nothing
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
    bridges = _bridges(*near.values())
    share = _share_of_batches(list(near.values()), kept_apart, size, bridges)
    if keeps_apart and not share:
        return
    yield Finding(
        "false-negatives",
        checked.sets[number].name,
        None,
        len(clashing),
        len(checked.sets[number].rows),
        f"{counted(len(clashing), 'row')} share a positive with another anchor, or an anchor with another positive:"
        f" a batch of {size} rows holds a positive that answers another row's anchor in {share:.1%} of {BATCHES:,}"
        f" drawn at random"
        f"{' by ' + sampler if keeps_apart else ''}.",
        _advice(keeps_apart, bridged=bool(bridges.any())),
        _examples(checked, number, near[Role.positive], sides[Role.positive][0]),
    )


def _advice(keeps_apart: bool, *, bridged: bool) -> str:
    through = (
        "Rows that only a third one shows to answer each other stay together: leave rows out until each anchor has one"
        " positive, or each positive one anchor."
    )
    if not keeps_apart:
        identical = "training.batch_sampler: no_duplicates keeps identical ones apart."
        return f"{identical} {through}" if bridged else identical
    return through if bridged else "Remove near duplicates from training."


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


def _bridges(anchors: Numbers, positives: Numbers) -> npt.NDArray[np.bool_]:
    """Return which rows show that one of two others answers the other: anchor of one, positive of the other.

    Of rows with both the same, only the first is marked.
    """
    known = np.flatnonzero((anchors >= 0) & (positives >= 0))
    pairs = np.stack([anchors[known], positives[known]], axis=1)
    _, first = np.unique(pairs, axis=0, return_index=True)
    rows = known[first]  # one a pair, so that a group that is met twice is met with another partner
    several = [np.bincount(side[rows], minlength=1)[side[rows]] > 1 for side in (anchors, positives)]
    found = np.zeros(len(anchors), dtype=bool)
    found[rows[several[0] & several[1]]] = True
    return found


def _share_of_batches(
    near: list[Numbers],
    kept_apart: list[Numbers] | None,
    size: int,
    bridges: npt.NDArray[np.bool_] | None = None,
) -> float:
    """Return the share of batches, drawn at random, with two rows of one group or a bridge between two."""
    sides = [groups[bridges] for groups in near] if bridges is not None and bridges.any() else []
    rng = np.random.default_rng(0)
    count = len(near[0])
    met = 0
    for _ in range(BATCHES):
        rows = rng.choice(count, min(size if kept_apart is None else _TRIED * size, count), replace=False)
        if kept_apart is not None:
            rows = _without_repeats(rows, kept_apart, size)
        drawn = [groups[rows] for groups in near]
        met += any(_repeats(groups) for groups in drawn) or (bool(sides) and _bridged(sides, drawn))
    return met / BATCHES


def _bridged(sides: list[Numbers], drawn: list[Numbers]) -> bool:
    """Return whether anchor and positive of a bridge are in two rows of a batch, in which none is repeated."""
    anchors, positives = (np.isin(side, groups) for side, groups in zip(sides, drawn, strict=True))
    met = np.stack([side[anchors & positives] for side in sides], axis=1)
    own = set(zip(*(groups.tolist() for groups in drawn), strict=True))
    return any(tuple(pair) not in own for pair in met.tolist())


def _without_repeats(rows: Numbers, sides: list[Numbers], size: int) -> Numbers:
    """Return the first rows that repeat nothing of those before them, ``size`` at most, as the sampler takes them."""
    drawn = [np.unique(groups[rows], return_inverse=True, return_counts=True) for groups in sides]
    doubtful = np.any([counts[place] > 1 for _, place, counts in drawn], axis=0)
    kept = ~doubtful
    seen: list[set[int]] = [set() for _ in sides]
    for row in np.flatnonzero(doubtful).tolist():
        values = [int(place[row]) for _, place, _ in drawn]
        if not any(value in known for value, known in zip(values, seen, strict=True)):
            kept[row] = True
            for value, known in zip(values, seen, strict=True):
                known.add(value)
    first: Numbers = rows[kept][:size]
    return first


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
