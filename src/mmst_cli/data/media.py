"""Image columns in whatever form they come: embedded, paths, addresses or arrays, made to decode on access."""

from __future__ import annotations

import os
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmst_cli.errors import DataError
from mmst_cli.storage import cache_folder, digest

if TYPE_CHECKING:
    from datasets import Dataset

URL_SCHEMES = ("http://", "https://")
_LOCATED = "__located__"  # a column's name while its paths are made absolute
MAX_DOWNLOAD = 100 * 2**20  # bytes of one fetched image
TIMEOUT = 30  # seconds without an answer
SHOWN = 200  # characters of a value in a message: a data URI may have thousands


def prepare_images(key: str, name: str, rows: Dataset, folder: Path, *, allow_urls: bool) -> Dataset:
    """Give an image column the Image feature, so that each value decodes to a PIL image when it is read.

    Args:
        key: name of the dataset section, for messages.
        name: the column.
        rows: the dataset.
        folder: what relative paths are relative to.
        allow_urls: fetch http(s) addresses into the cache; refused otherwise.

    Raises:
        DataError: the column can't hold images, a file isn't there, or an address is refused.
    """
    import pyarrow
    from datasets import Array2D, Array3D, Image

    stored = rows.features[name]
    if isinstance(stored, Image):
        stored_type = stored.pa_type
        rows = rows.cast_column(name, Image(decode=False))
    else:
        stored_type = rows.data.schema.field(name).type
    types = pyarrow.types
    if types.is_string(stored_type) or types.is_large_string(stored_type):
        rows = _locate(key, name, rows, folder, allow_urls, lambda value: value)
    elif types.is_struct(stored_type) and stored_type.get_field_index("path") >= 0:
        rows = _locate(key, name, rows, folder, allow_urls, lambda value: _path_without_bytes(value))
    elif types.is_list(stored_type) or types.is_large_list(stored_type) or isinstance(stored, Array2D | Array3D):
        rows = _encode_arrays(key, name, rows)
    elif not (types.is_binary(stored_type) or types.is_large_binary(stored_type) or _has_bytes(stored_type)):
        raise DataError(
            f"datasets.{key}.columns.{name}: declared image, but the column holds {stored_type}. "
            "Images are embedded, or given as paths or arrays."
        )
    return rows.cast_column(name, Image())


def _has_bytes(stored_type: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_struct(stored_type) and bool(stored_type.get_field_index("bytes") >= 0)


def _path_without_bytes(value: dict[str, Any] | None) -> str | None:
    return value.get("path") if value and value.get("bytes") is None else None


def _locate(key: str, name: str, rows: Dataset, folder: Path, allow_urls: bool, path_of: Any) -> Dataset:
    """Replace paths by absolute ones, after checking that each is there; embedded images stay as they are."""
    from datasets import Image

    at = f"datasets.{key}, row {{row}}, column {name}"
    values = rows.with_format(None)[name] if _holds_paths(rows, name) else []
    paths = {row: path for row, value in enumerate(values) if (path := path_of(value)) is not None}
    if not paths:
        return rows
    located = {
        row: _fetch(path, at.format(row=row), allow_urls)
        if path.startswith(URL_SCHEMES)
        else str(folder / expand_home(path))
        for row, path in paths.items()
    }
    if (missing := first_missing(located.items())) is not None:
        raise DataError(f"{at.format(row=missing)}: no such image file: {located[missing][:SHOWN]}")
    images = [
        {"bytes": None, "path": located[row]} if row in located else _as_image(value)
        for row, value in enumerate(values)
    ]
    # Added before the old one goes: a dataset without any column has no rows.
    located_rows = rows.add_column(_LOCATED, images, feature=Image(decode=False))
    return located_rows.remove_columns(name).rename_column(_LOCATED, name)


def expand_home(path: str) -> Path:
    """Return ``path`` with a leading ``~/`` replaced by the home folder."""
    return Path(path).expanduser() if path.startswith("~/") else Path(path)


def _as_image(value: Any) -> Any:
    return None if value is None else {"bytes": value.get("bytes"), "path": value.get("path")}


def _holds_paths(rows: Dataset, name: str) -> bool:
    """Whether any value is a path. Embedded images are looked at in the table, without copying them."""
    import pyarrow.compute as compute

    column = rows.data.column(name)
    if not hasattr(column.type, "get_field_index") or column.type.get_field_index("bytes") < 0:
        return True
    return bool(compute.any(compute.is_null(compute.struct_field(column, "bytes"))).as_py())


def first_missing(paths: Iterable[tuple[int, str]]) -> int | None:
    """Return the row of the first path that is no file, listing each folder once instead of asking per file."""
    by_folder: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for row, path in paths:
        by_folder[Path(path).parent].append((row, path))
    missing: list[int] = []
    for folder, entries in by_folder.items():
        present = _file_names(folder)
        missing += [row for row, path in entries if Path(path).name not in present]
    return min(missing, default=None)


def _file_names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except (OSError, ValueError):  # no such folder; or a name too long, or with a zero in it, to be one
        return set()


def _fetch(url: str, at: str, allow_urls: bool) -> str:
    """Download an address into the cache, once, and return the file."""
    if not allow_urls:
        raise DataError(
            f"{at}: found the address {url}, and nothing is fetched unless the dataset says allow_urls: true."
        )
    target = cache_folder() / "media" / digest(url)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # As a browser does, let an address hold spaces and letters beyond ASCII.
            with urllib.request.urlopen(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), timeout=TIMEOUT) as answer:
                content = answer.read(MAX_DOWNLOAD + 1)
        except (OSError, ValueError, HTTPException) as error:
            raise DataError(f"{at}: {url} can't be fetched: {error}") from error
        if len(content) > MAX_DOWNLOAD:
            raise DataError(f"{at}: {url} is over {MAX_DOWNLOAD // 2**20} MiB.")
        partial = target.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(target)
    return str(target)


def _encode_arrays(key: str, name: str, rows: Dataset) -> Dataset:
    """Turn arrays of shape (height, width) or (height, width, 1, 3 or 4), values 0 to 255, into PNG bytes."""
    import numpy
    from datasets import Image

    def encode(row: dict[str, Any], index: int) -> dict[str, Any]:
        at = f"datasets.{key}, row {index}, column {name}"
        try:
            array = numpy.asarray(row[name])
        except ValueError as error:
            raise DataError(f"{at}: the rows of this image array differ in length.") from error
        shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
        if not shaped or array.size == 0 or array.dtype.kind not in "ui":
            raise DataError(
                f"{at}: an image array has shape (height, width) or (height, width, 1, 3 or 4) and whole numbers "
                f"from 0 to 255, found shape {array.shape} of {array.dtype}."
            )
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[:, :, 0]
        if array.min() < 0 or array.max() > 255:
            raise DataError(f"{at}: image values go from 0 to 255, found {array.min()} to {array.max()}.")
        return {name: Image().encode_example(array.astype(numpy.uint8))}

    features = rows.features.copy()
    features[name] = Image(decode=False)
    return rows.map(encode, with_indices=True, features=features)
