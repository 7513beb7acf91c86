"""The roles of a dataset's columns against the inputs that sentence-transformers documents for its loss."""

from __future__ import annotations

from collections.abc import Sequence

from mmst_cli.config.schema import ColumnConfig, Role
from mmst_cli.config.signatures import LossInput, fitting_losses, loss_inputs


def check_roles(columns: Sequence[ColumnConfig], innermost: str | None, key: str) -> list[str]:
    """Return the faults of columns as declared.

    A negative column may turn out to hold lists, each entry an input of its own, so without `take` the number
    of inputs is known from below only.

    Args:
        columns: the columns.
        innermost: class name of the loss that takes them; None if there is none to check against.
        key: dotted key of the columns in the file.
    """
    roles = [
        column.role for column in columns for _ in range((column.take or 1) if column.role is Role.negative else 1)
    ]
    open_ended = any(column.role is Role.negative and column.take is None for column in columns)
    return check_inputs(roles, innermost, key, or_more=open_ended)


def check_inputs(roles: Sequence[Role], innermost: str | None, key: str, *, or_more: bool = False) -> list[str]:
    """Return the faults of inputs of these roles: their number, and the losses that take them if this one can't.

    Args:
        roles: one an input, and one a label.
        innermost: class name of the loss.
        key: dotted key of the columns in the file.
        or_more: whether there may be more inputs than that.
    """
    anchors, labels = roles.count(Role.anchor), roles.count(Role.label)
    inputs = loss_inputs(innermost) if innermost else None
    faults = []
    if anchors != 1:
        faults.append(f"{key}: {anchors or 'no'} columns have the role anchor. Give it to exactly one.")
    if labels > 1:
        faults.append(f"{key}: {labels} columns have the role label. Give it to one at most.")
    if inputs and Role.positive not in roles and all((line.at_least or 1) > 1 for line in inputs):
        faults.append(f"{key}: no column has the role positive, and {innermost} needs one.")
    if faults or inputs is None:
        return faults
    count = len(roles) - labels
    if any(line.fits(count, labels == 1, or_more=or_more) for line in inputs):
        return []
    found = f"{_counted(count)} ({', '.join(role for role in roles if role is not Role.label)})"
    choices = " or ".join(dict.fromkeys(_takes(line) for line in inputs))
    return [
        f"{key}: found {found} {'and a label' if labels else 'and no label'}, but {innermost} takes {choices}."
        + _alternatives(count, labels == 1, or_more)
    ]


def _alternatives(columns: int, label: bool, or_more: bool) -> str:
    names = fitting_losses(columns, label, or_more=or_more)
    return f" With these columns: {', '.join(names[:6])}." if names else ""


def _takes(line: LossInput) -> str:
    label = {True: " and a label", False: " and no label", None: ""}[line.label]
    if line.at_least is None:
        return f"any input columns{label}"
    if line.at_most is None:
        return f"{line.at_least} or more input columns{label}"
    return f"{_counted(line.at_least)}{label}"


def _counted(columns: int) -> str:
    return f"{columns} input column{'' if columns == 1 else 's'}"
