"""Labels of a table: numbers, or lists of numbers that a teacher gave, and whether a loss takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmst_cli.config.schema import LossConfig, OnBadRow, Role
from mmst_cli.config.signatures import fitting_losses, loss_inputs, takes_label
from mmst_cli.errors import DataError
from mmst_cli.rows.cells import LARGEST_LABEL, LIST, NUMBER, label_kind
from mmst_cli.rows.columns import Column, RowSet
from mmst_cli.rows.label_values import check_values
from mmst_cli.rows.stored_cells import column_chunks, list_lengths, place_of

# What labels that are lists hold for these losses, and how many entries that makes, given the documents of a row.
_SCORES: dict[str, tuple[str, Callable[[int], set[int]]]] = {
    "DistillKLDivLoss": ("a score for each document of the row", lambda documents: {documents}),
    "MarginMSELoss": (
        "a score for each document of the row, or the positive's less each negative's",
        lambda documents: {documents, documents - 1},
    ),
}
_VECTORS = ("MSELoss", "EmbedDistillLoss")


def check_lengths(rows: RowSet, column: Column) -> None:
    """Check that labels that are lists are as long in every row: a batch of them is one array.

    Raises:
        DataError: they aren't; the message names the first row that differs.
    """
    expected: int | None = None
    for start, lengths in _lengths(rows, column):
        expected = lengths[0] if expected is None else expected
        for index in [place for place, length in enumerate(lengths) if length != expected][:1]:
            shorter = min(lengths[index], expected)
            advice = f"or set take: {shorter} to use so many of each" if shorter else "or remove it"
            raise DataError(
                f"{place_of(rows, start + index, column.name)}: the label is a list of {lengths[index]}, and that of"
                f" the first row one of {expected}. Give every row as many, {advice}."
            )
    if expected is not None and (ragged := _ragged_vectors(rows, column)):
        raise DataError(ragged)


def with_lengths(rows: RowSet) -> RowSet:
    """Return rows that know how long labels are that are lists: as in most rows, for the others to be left out."""
    columns = []
    for column in rows.columns:
        counts = Counter(length for _, lengths in _lengths_of_label(rows, column) for length in lengths)
        least, longest = min(counts, default=0), max(counts, default=0)
        del counts[0]  # which is none at all
        most = counts.most_common(1)[0][0] if counts else None
        columns.append(replace(column, length=most) if least != longest else column)
    return replace(rows, columns=tuple(columns))


def rows_of_other_lengths(rows: RowSet, column: Column) -> set[int]:
    """Return the stored rows whose label is a list, and another length than that of most."""
    if column.length is None:
        return set()
    return {
        start + index
        for start, lengths in _lengths_of_label(rows, column)
        for index, length in enumerate(lengths)
        if length != column.length
    }


def _lengths_of_label(rows: RowSet, column: Column) -> Iterator[tuple[int, list[int]]]:
    return _lengths(rows, column) if column.role is Role.label else iter(())


def _lengths(rows: RowSet, column: Column) -> Iterator[tuple[int, list[int]]]:
    """Yield (first row, lengths) of labels that are lists, as far as their entries are used."""
    from pyarrow import types

    for start, chunk in column_chunks(rows.source, column.sources[0]):
        kind = chunk.type
        if len(chunk) and (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
            yield start, [min(length, column.take or length) for length in list_lengths(chunk).tolist()]


def _ragged_vectors(rows: RowSet, column: Column) -> str | None:
    """Return in a sentence which of the labels that are several vectors has others than the first; None for none."""
    import pyarrow.compute as compute
    from pyarrow import types

    expected: int | None = None
    for start, chunk in column_chunks(rows.source, column.sources[0]):
        inner = compute.list_flatten(chunk)
        if not (types.is_list(inner.type) or types.is_large_list(inner.type)) or not len(inner):
            return None
        lengths = compute.fill_null(compute.list_value_length(inner), 0)
        owners = compute.list_parent_indices(chunk)
        expected = lengths[0].as_py() if expected is None else expected
        for place in compute.indices_nonzero(compute.not_equal(lengths, expected)).to_pylist()[:1]:
            at = place_of(rows, start + owners[place].as_py(), column.name)
            return f"{at}: a vector of {lengths[place]}, and the first one has {expected}. Give all as many numbers."
    return None


def check_labels(rows: RowSet, loss: LossConfig, key: str, *, trains: bool = True) -> list[str]:
    """Return what a loss, by its documentation, doesn't take of the labels of a dataset.

    Args:
        rows: the rows.
        loss: the innermost layer of their loss.
        key: dotted key of that loss.
        trains: whether the rows are trained on, and not only evaluated on.
    """
    features = getattr(rows.source, "features", None) or {}
    faults = []
    for column in rows.with_role(Role.label):
        at = f"datasets.{rows.key}.columns.{column.name}"
        kind = label_kind(features.get(column.sources[0]))
        if kind and not takes_label(loss.type, is_list=kind == LIST):
            wanted = NUMBER if kind == LIST else "a list of numbers, such as a teacher's scores or its vector"
            count = len(rows.columns) - 1
            others = fitting_losses(count, True, lists=kind == LIST)
            faults.append(
                f"{at}: each label is {kind}, but {loss.type} takes {wanted}."
                + (f" For labels like these there is {', '.join(others[:6])}." if others else "")
            )
        elif kind == NUMBER and column.take is not None:
            faults.append(f"{at}.take: each label is a number, so there is nothing to take from. Leave it out.")
        elif rows.is_stream:
            continue
        elif kind == LIST:
            faults += [f"{at}: {wrong}" for wrong in [_miscounted(rows, column, loss.type)] if wrong]
        elif wrong := _outside(rows, column, loss.type):
            faults.append(f"{at}: {wrong}")
        elif kind == NUMBER:
            faults += check_values(rows, column, loss, key, trains=trains)
    return faults


def _miscounted(rows: RowSet, column: Column, loss: str) -> str | None:
    """Return in a sentence that labels have too many or too few entries for the inputs of a row, else None."""
    first = column.length or next((lengths[0] for _, lengths in _lengths(rows, column)), None)
    inputs = len(rows.columns) - 1
    if first is None:
        return None
    is_several = len(np.shape(_first_whole(rows, column))) > 1
    if loss in _SCORES:
        words, allowed = _SCORES[loss]
        if is_several:
            return f"each label is {first} lists of numbers, but {loss} takes {words}."
        if first in allowed(inputs - 1):
            return None
        advice = " Set take to use fewer." if first > max(allowed(inputs - 1)) else ""
        return f"each label is a list of {first}, but {loss} takes {words}, of which there are {inputs - 1}.{advice}"
    if loss in _VECTORS and is_several and first != inputs:
        return f"each label is {first} vectors, but {loss} takes one, or one for each of the {inputs} inputs of a row."
    return None


def _first_whole(rows: RowSet, column: Column) -> Any:
    """Return the first label that can be read; None for none, where broken rows are left out."""
    for index in range(len(rows)):
        try:
            return rows.value_at(column, index)
        except DataError:
            if rows.on_bad_row is OnBadRow.error:
                raise
    return None


def check_widths(rows: RowSet, layers: Sequence[LossConfig], key: str, dimension: int) -> list[str]:
    """Return what keeps a teacher's vectors from being compared with those of the model.

    Args:
        rows: the rows.
        layers: the layers of their loss, innermost first.
        key: dotted key of that loss.
        dimension: that of the model's vectors.
    """
    labels = rows.with_role(Role.label)
    if not labels or layers[0].type not in _VECTORS or rows.is_stream or not len(rows):
        return []
    shape = np.shape(_first_whole(rows, labels[0]))
    projected = layers[0].args.get("projection_dim")
    if not shape or shape[-1] == (projected or dimension):
        return []
    at = f"{key}.0.args.projection_dim"
    have = f"labels of datasets.{rows.key} are vectors of {shape[-1]}"
    if projected is not None:
        return [f"{at}: found {projected}, but the {have}. Write {shape[-1]}."]
    alone = f", without {layers[1].type}" if len(layers) > 1 else ""
    return [
        f"{at}: missing. The {have} dimensions, and those of the model have {dimension}. Write {shape[-1]} to learn a"
        f" projection beside it{alone}."
    ]


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
