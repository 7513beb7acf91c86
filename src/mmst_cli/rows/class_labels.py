"""Labels that are the numbers of classes, and whether a loss can learn from them."""

from __future__ import annotations

import numpy as np

from mmst_cli.config.rules_loss import LOSSES_OF_CLASSES
from mmst_cli.config.schema import LossConfig
from mmst_cli.rows.cells import as_label
from mmst_cli.rows.columns import Column, RowSet


def check_classes(rows: RowSet, column: Column, loss: LossConfig, key: str) -> list[str]:
    """Return what keeps a loss that learns from classes from doing so; nothing for another loss.

    Args:
        rows: the rows; no stream.
        column: the labels, which are numbers.
        loss: the innermost layer of their loss.
        key: dotted key of that loss.
    """
    if loss.type != "SoftmaxLoss" and loss.type not in LOSSES_OF_CLASSES:
        return []
    at = f"datasets.{rows.key}.columns.{column.name}"
    labels = np.array([label for label in as_label(list(rows.rows[column.sources[0]])) if label is not None])
    if loss.type == "SoftmaxLoss":
        return _check_numbers(labels, loss.args.get("num_labels"), at, f"{key}.0.args.num_labels")
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) > 1 and counts.max() > 1:
        return []
    found = "all rows are of one class" if len(counts) == 1 else "no two rows are of one class"
    return [f"{at}: {loss.type} compares two rows of one class with one of another, and {found}. Take another loss."]


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
