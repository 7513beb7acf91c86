"""Which rows and cells of a set are of one group: the same, or nearly so."""

from __future__ import annotations

import numpy as np

from mmst_cli.checking.contents import Numbers
from mmst_cli.checking.findings import Checked
from mmst_cli.config.schema import Role

Place = tuple[int, int, int]
"""Set, column and row of a cell."""


def columns_of(checked: Checked, number: int, *roles: Role) -> list[int]:
    """Return the places of the input columns of these roles."""
    return [place for place, column in enumerate(checked.inputs(number)) if column.role in roles]


def first_cells(checked: Checked, number: int, columns: list[int], *, near: bool = True) -> dict[int, Place]:
    """Return group to the first cell of these columns that is of it."""
    found: dict[int, Place] = {}
    for column in columns:
        groups, rows = np.unique(checked.groups(number, column, near=near), return_index=True)
        for one, row in zip(groups.tolist(), rows.tolist(), strict=True):
            if one >= 0:
                found.setdefault(one, (number, column, row))
    return found


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
