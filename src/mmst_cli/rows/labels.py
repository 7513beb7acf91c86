"""Labels of a table: numbers, or lists of numbers that a teacher gave, and whether a loss takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmst_cli.config.schema import LossConfig, Role
from mmst_cli.config.signatures import fitting_losses, loss_inputs, takes_label
from mmst_cli.errors import DataError
from mmst_cli.rows.cells import as_label, label_kind
from mmst_cli.rows.columns import LARGEST_LABEL, Column, RowSet
from mmst_cli.rows.stored_cells import column_chunks, place_of

_LIST = "a list of numbers"


def check_lengths(rows: RowSet, column: Column) -> None:
    """Check that labels that are lists are as long in every row: a batch of them is one array.

    Raises:
        DataError: they aren't; the message names the first row that differs.
    """
    import pyarrow.compute as compute
    from pyarrow import types

    expected: int | None = None
    for start, chunk in column_chunks(rows.source, column.sources[0]):
        if not (types.is_list(chunk.type) or types.is_large_list(chunk.type)) or not len(chunk):
            continue
        lengths = compute.list_value_length(chunk)
        expected = lengths[0].as_py() if expected is None else expected
        for index in compute.indices_nonzero(compute.not_equal(lengths, expected)).to_pylist()[:1]:
            raise DataError(
                f"{place_of(rows, start + index, column.name)}: the label is a list of {lengths[index].as_py()},"
                f" and that of the first row one of {expected}. Give every row as many."
            )


def check_labels(rows: RowSet, loss: LossConfig, key: str) -> list[str]:
    """Return what a loss, by its documentation, doesn't take of the labels of a dataset.

    Args:
        rows: the rows.
        loss: the innermost layer of their loss.
        key: dotted key of that loss.
    """
    features = getattr(rows.source, "features", None) or {}
    faults = []
    for column in rows.with_role(Role.label):
        kind = label_kind(features.get(column.sources[0]))
        if kind and not takes_label(loss.type, is_list=kind == _LIST):
            wanted = "a number" if kind == _LIST else "a list of numbers, such as a teacher's scores or its vector"
            count = len(rows.columns) - 1
            others = fitting_losses(count, True, lists=kind == _LIST)
            faults.append(
                f"datasets.{rows.key}.columns.{column.name}: each label is {kind}, but {loss.type} takes {wanted}."
                + (f" For labels like these there is {', '.join(others[:6])}." if others else "")
            )
        elif kind == "a number" and not rows.is_stream and (wrong := _outside(rows, column, loss.type)):
            faults.append(f"datasets.{rows.key}.columns.{column.name}: {wrong}")
        elif loss.type == "SoftmaxLoss" and kind == "a number" and not rows.is_stream:
            values = np.array(as_label(list(rows.rows[column.sources[0]])))
            faults += _check_classes(values, loss.args.get("num_labels"), f"{key}.0.args.num_labels")
    return faults


def _outside(rows: RowSet, column: Column, loss: str) -> str | None:
    """Return in a sentence which label a loss would compute nonsense with, or None where there is none."""
    pairs = any(line.pairs for line in loss_inputs(loss) or ())
    if not pairs and loss != "CosineSimilarityLoss":
        return None
    for start, chunk in column_chunks(rows.source, column.sources[0]):
        values = chunk.to_numpy(zero_copy_only=False).astype(float)
        fits = np.isin(values, (0, 1)) if pairs else np.abs(values) <= 1 + 1e-6
        finite = np.abs(values) <= LARGEST_LABEL  # of others each row is told, or left out
        for index in np.flatnonzero(finite & ~fits)[:1]:
            found = f"found {values[index]:g} in {place_of(rows, start + int(index), column.name)}."
            if pairs:
                wanted = "takes 1 for inputs that belong together and 0 for those that don't"
                return f"{loss} {wanted}; {found} For scores there are CoSENTLoss and CosineSimilarityLoss."
            return f"{loss} compares labels with cosines, which are -1 to 1; {found} Scale them, or take CoSENTLoss."
    return None


def _check_classes(values: Any, count: Any, key: str) -> list[str]:
    """Return a fault where a label is no class below ``count``; a GPU would say so in words that nobody understands."""
    if not isinstance(count, int) or not np.issubdtype(values.dtype, np.integer) or not len(values):
        return []
    least, largest = int(values.min()), int(values.max())
    if least >= 0 and largest < count:
        return []
    return [f"{key}: found {count}, but the labels are {least} to {largest}, and have to be 0 to {count - 1}."]
