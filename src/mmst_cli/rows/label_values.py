"""Labels that are numbers, and whether a loss can learn anything from those that there are."""

from __future__ import annotations

import numpy as np

from mmst_cli.config.rules_loss import LOSSES_OF_CLASSES
from mmst_cli.config.schema import LossConfig, Role
from mmst_cli.rows.cells import as_label
from mmst_cli.rows.columns import Column, RowSet

_OF_ORDER = ("CoSENTLoss", "AnglELoss")
"""The losses that learn from which of two rows has the higher label."""
_OF_ONE_MARGIN = "MarginMSELoss"
"""A number is the margin to one negative."""


def check_values(rows: RowSet, column: Column, loss: LossConfig, key: str, *, trains: bool = True) -> list[str]:
    """Return what keeps a loss from learning from labels that are classes, grades or margins; nothing of others.

    Args:
        rows: the rows; no stream.
        column: the labels, which are numbers.
        loss: the innermost layer of their loss.
        key: dotted key of that loss.
        trains: whether the rows are trained on; on those that are evaluated on there is nothing to learn.
    """
    at, negatives = f"datasets.{rows.key}.columns.{column.name}", len(rows.with_role(Role.negative))
    if loss.type == _OF_ONE_MARGIN and negatives > 1:
        wanted = "a list: a score for each document of the row, or the positive's less each negative's"
        return [f"{at}: each label is a number, but {loss.type} takes, beside {negatives} negatives, {wanted}."]
    if loss.type not in ("SoftmaxLoss", *LOSSES_OF_CLASSES, *_OF_ORDER):
        return []
    labels = np.array([label for label in as_label(list(rows.rows[column.sources[0]])) if label is not None])
    if loss.type == "SoftmaxLoss":
        return _check_numbers(labels, loss.args.get("num_labels"), at, f"{key}.0.args.num_labels")
    if not trains:
        return []
    if loss.type in _OF_ORDER:
        return _check_grades(labels, loss.type, at)
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) > 1 and counts.max() > 1:
        return []
    found = "all rows are of one class" if len(counts) == 1 else "no two rows are of one class"
    return [f"{at}: {loss.type} compares two rows of one class with one of another, and {found}. Take another loss."]


def _check_grades(labels: np.ndarray, loss: str, at: str) -> list[str]:
    if not len(labels) or (labels != labels[0]).any():
        return []
    return [f"{at}: {loss} learns from which of two rows has the higher label, and all are {labels[0]:g}."]


def _check_numbers(labels: np.ndarray, count: object, at: str, key: str) -> list[str]:
    """Return a fault where a label is no class below ``count``; a GPU would say so in words that nobody understands."""
    if len(labels) and not np.issubdtype(labels.dtype, np.integer):
        return [f"{at}: SoftmaxLoss takes the number of a class, a whole one; found {labels.dtype}."]
    if not isinstance(count, int) or not len(labels):
        return []
    least, largest = int(labels.min()), int(labels.max())
    if least >= 0 and largest < count:
        return []
    return [f"{key}: found {count}, but the labels are {least} to {largest}, and have to be 0 to {count - 1}."]
