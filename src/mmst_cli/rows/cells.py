"""What is stored in a column: whether it can hold what is declared, and whether its cells are lists of inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.sources.tables import MEDIA_FEATURES

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

# What `datasets` calls a column of media; an animated image may be declared a clip.
_FEATURES = {Modality.image: ("Image", "Pdf"), Modality.audio: ("Audio",), Modality.video: ("Video", "Image")}
SEVERAL = "values of several kinds"
NUMBER, LIST = "a number", "a list of numbers"
"""The kinds of labels, as messages have them."""
NUMBERS = ("int", "uint", "float", "bool")
LARGEST_LABEL = 3.4028234e38
"""The largest float32: batches hold labels as that."""
_FIELDS = {  # of structures that hold media
    Modality.image: {"bytes", "path"},
    Modality.audio: {"bytes", "path", "array"},
    Modality.video: {"bytes", "path", "array"},
}


def array_type(feature: Any) -> str | None:
    """Return what the numbers of a column of arrays are, nested lists or below ``array``; None for other columns."""
    if isinstance(feature, dict):
        return array_type(feature.get("array"))
    if type(feature).__name__.startswith("Array"):  # Array2D and so on
        return str(feature.dtype)
    inner = _innermost(feature)
    return str(inner.dtype) if inner is not feature and _is_number(inner) else None


def to_array(value: Any, dtype: str) -> Any:
    """Return nested lists of numbers, or those under ``array`` in a mapping, as a numpy array.

    Raises:
        DataError: lists beside each other differ in length, or a number is missing.
    """
    if isinstance(value, Mapping):
        return {**value, "array": to_array(value["array"], dtype)}
    if value is None:
        return None
    try:
        return np.array(value, dtype=dtype)
    except (ValueError, TypeError) as error:
        raise DataError("the rows of this array differ in length, or a number is missing in it.") from error


def stored_type(rows: Dataset | IterableDataset, name: str) -> str:
    """Name what a column holds, without decoding any of it."""
    feature = rows.features[name]
    dtype = getattr(feature, "dtype", None)
    if isinstance(dtype, str) and "." not in dtype and dtype != "dict":
        return dtype
    if isinstance(feature, dict):
        return f"a structure of {', '.join(feature)}"
    kind = type(feature).__name__
    return {"Json": SEVERAL, "List": "lists", "LargeList": "lists"}.get(kind, kind)


def holds_lists(feature: Any, modality: Modality) -> bool:
    """Say whether each cell of a column is a list of inputs, and not one input.

    A list of numbers is one sound, a list of lists of numbers one image, a list of images one clip, and a list
    of messages one chat.
    """
    inner = getattr(feature, "feature", None)
    if inner is None or type(feature).__name__ not in ("List", "LargeList"):
        return False
    nested = getattr(inner, "feature", None) is not None
    if modality is Modality.message:
        return nested or is_text(inner)
    if modality is Modality.video:
        clips = isinstance(inner, dict) and "array" in inner
        frames_of_clips = nested and not _is_number(_innermost(inner))
        return type(inner).__name__ == "Video" or clips or frames_of_clips
    return not nested and not _is_number(inner)


def fits(feature: Any, modality: Modality) -> bool:
    """Say whether a stored type can hold inputs of a modality; only reading tells whether it does."""
    kind = type(feature).__name__
    if getattr(feature, "dtype", None) == "null":  # nothing in any row, which is another complaint
        return True
    if kind == "Json":  # of which each row tells
        return True
    if modality is Modality.text:
        return is_text(feature)
    if modality is Modality.mixed:
        return isinstance(feature, dict)
    if modality is Modality.message:
        return isinstance(feature, dict) or kind in ("List", "LargeList") or is_text(feature)
    if isinstance(feature, dict):
        return bool(feature.keys() & _FIELDS[modality])
    return not _is_number(feature) and (kind not in MEDIA_FEATURES or kind in _FEATURES[modality])


def is_text(feature: Any) -> bool:
    """Say whether a column holds strings."""
    return getattr(feature, "dtype", None) in ("string", "large_string")


def label_kind(feature: Any) -> str | None:
    """Say whether a column holds a number a row, or a list of numbers (one of vectors too); None for anything else."""
    if _is_number(feature):
        return NUMBER
    is_list = getattr(feature, "feature", None) is not None or type(feature).__name__.startswith("Array")
    return LIST if is_list and array_type(feature) else None


def as_label(cell: Any) -> Any:
    """Return a label as a loss computes with it: true and false are 1 and 0, and lists what torch makes of them."""
    if isinstance(cell, list | tuple):
        return [as_label(entry) for entry in cell]
    if isinstance(cell, np.ndarray):
        return cell.astype(np.float32 if np.issubdtype(cell.dtype, np.floating) else np.int64)
    return int(cell) if isinstance(cell, bool) else cell


def check_label(cell: Any, *, classes: bool = False) -> None:
    """Check that a label is a number that a loss can be computed with.

    Args:
        cell: the number, or an array or list of numbers.
        classes: it is the number of a class.

    Raises:
        DataError: nothing is there, or what is no finite float32, which would make all weights NaN.
    """
    if cell is None or (classes and cell == -1):
        raise DataError(f"there is no label here: the value is {'empty' if cell is None else '-1, which is no class'}.")
    if isinstance(cell, np.ndarray):
        cell = cell[~(np.abs(cell.astype(np.float64)) <= LARGEST_LABEL)].tolist()
    if isinstance(cell, list | tuple):
        for entry in cell:
            check_label(entry)
    elif isinstance(cell, float) and not abs(cell) <= LARGEST_LABEL:
        raise DataError(f"the label is {cell}, and a loss takes finite numbers of float32. Mend or remove the row.")


def _innermost(feature: Any) -> Any:
    while getattr(feature, "feature", None) is not None:
        feature = feature.feature
    return feature


def _is_number(feature: Any) -> bool:
    dtype = getattr(feature, "dtype", "")
    return type(feature).__name__ in ("Value", "ClassLabel") and str(dtype).startswith(NUMBERS)
