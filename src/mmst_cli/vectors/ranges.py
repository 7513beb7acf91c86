"""The ranges that int8 vectors are made with: measured by `mmst eval`, kept beside its results, found by `mmst encode`.

They hold for vectors exactly as `mmst encode` writes them, so there is a pair for every dimension: a vector that is
truncated and normalised again has larger values than the first part of the whole one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmst_cli.errors import ConfigError, DataError
from mmst_cli.shell_words import quoted
from mmst_cli.storage import digest, expand_home, write_text
from mmst_cli.vectors.quantise import ranges_of, shorten

SUFFIX = ".ranges.json"
ROUNDING = 1e-5  # of the largest value: by so much vectors of the same input differ, batch by batch
BEFORE = f".before{SUFFIX}"  # those of the model before it was trained
BATCH = 8192  # vectors of a parquet file held at a time
NORM_TOLERANCE = 1e-3  # vectors whose lengths are this close to 1 count as normalised


@dataclass(frozen=True)
class Ranges:
    """Least and greatest values of every dimension over a collection.

    Attributes:
        model: what made the vectors.
        dimension: of the whole vectors.
        vectors: how many there were.
        normalised: whether the vectors that ``by_dim[dimension]`` was measured on have length 1.
        by_dim: float32 of shape (2, dim) for each dimension that was measured; at ``dimension`` those of the
            vectors as the model gives them, below it those of :func:`~mmst_cli.vectors.quantise.shorten`.
    """

    model: str
    dimension: int
    vectors: int
    normalised: bool
    by_dim: dict[int, np.ndarray]


def measure_ranges(vectors: torch.Tensor, dims: Iterable[int], model: str) -> Ranges:
    """Return the ranges of a corpus.

    Args:
        vectors: float32 of shape (n, dimension), not truncated.
        dims: which dimensions to measure.
        model: what made the vectors.

    Raises:
        DataError: fewer than two vectors, or one that isn't finite.
    """
    full = vectors.shape[1]
    by_dim = {dim: ranges_of(vectors, dim if dim < full else None) for dim in dims}
    return Ranges(model, full, len(vectors), _is_unit(vectors), by_dim)


def save_ranges(path: Path, ranges: Ranges) -> Path:
    """Write ranges as JSON; :func:`load_ranges` reads back the same float32 values."""
    return write_text(path, json.dumps(_as_plain(ranges)) + "\n")


def load_ranges(path: Path) -> Ranges:
    """Read what :func:`save_ranges` wrote.

    Raises:
        DataError: it isn't there or holds no ranges.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        by_dim = {
            int(dim): np.array([pair["low"], pair["high"]], dtype=np.float32) for dim, pair in content["ranges"].items()
        }
        ranges = Ranges(
            str(content["model"]),
            int(content["dimension"]),
            int(content["vectors"]),
            bool(content["normalised"]),
            by_dim,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no ranges of int8 vectors in it ({error}).") from error
    if any(pair.shape != (2, dim) or not np.isfinite(pair).all() for dim, pair in by_dim.items()):
        raise DataError(f"{path}: its ranges are damaged; `mmst eval --precisions float32,int8` writes them anew.")
    return ranges


def ranges_digest(ranges: Ranges) -> str:
    """Return 16 hexadecimal digits that name ranges by content."""
    return digest(_as_plain(ranges))


def _as_plain(ranges: Ranges) -> dict[str, object]:
    return {
        "model": ranges.model,
        "dimension": ranges.dimension,
        "vectors": ranges.vectors,
        "normalised": ranges.normalised,
        "ranges": {
            str(dim): {"low": pair[0].tolist(), "high": pair[1].tolist()} for dim, pair in ranges.by_dim.items()
        },
    }


def find_ranges(model: str, given: Path | None, dim: int | None) -> tuple[Path, Ranges]:
    """Return the file and the one pair of ranges that int8 vectors of ``model`` are to be made with.

    Args:
        model: a run folder, where `mmst eval` left ranges, or any other model.
        given: a file of ranges, or a parquet file of float32 vectors that `mmst encode` wrote.
        dim: what the vectors will be truncated to; None for whole ones.

    Raises:
        ConfigError: nothing is given and nothing is found.
        DataError: what there is doesn't hold for these vectors.
    """
    path = given or _saved_ranges(model)
    if path.suffix == ".parquet":
        measured = _measure_file(path, dim)
        _check_width(path, measured)
        return path, measured
    ranges = load_ranges(path)
    wanted = dim or ranges.dimension
    if wanted not in ranges.by_dim:
        known = ", ".join(map(str, ranges.by_dim)) or "none"
        raise DataError(
            f"{path}: it has ranges for {known} dimensions, not {wanted}; "
            f"`mmst eval {quoted(model)} --dims {wanted} --precisions float32,int8` measures them."
        )
    if dim == ranges.dimension and not ranges.normalised:
        raise DataError(f"--dim {dim}: {path} has ranges of whole vectors, not normalised ones; leave --dim out.")
    chosen = replace(ranges, by_dim={wanted: ranges.by_dim[wanted]})
    _check_width(path, chosen)
    return path, chosen


def without_width(ranges: Ranges) -> int:
    """Return in how many dimensions all measured vectors are the same, so that int8 keeps nothing of others."""
    pairs = list(ranges.by_dim.values())
    return max((int(_is_narrow(pair).sum()) for pair in pairs), default=0)


def _is_narrow(pair: np.ndarray) -> np.ndarray:
    return np.asarray(pair[1] - pair[0] <= ROUNDING * float(np.abs(pair).max()))


def _check_width(path: Path, ranges: Ranges) -> None:
    """Refuse ranges in which every vector would become the same one."""
    for dim, pair in ranges.by_dim.items():
        if _is_narrow(pair).all():
            raise DataError(
                f"{path}: ranges of {ranges.vectors:,} vectors that are all the same; by them int8 would keep nothing "
                f"of any of the {dim} dimensions. Take those of documents that differ."
            )


def _saved_ranges(model: str) -> Path:
    folder = expand_home(model) / "eval"
    found = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.endswith(BEFORE))
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found)
        raise ConfigError(f"--ranges: there are several: {names}. Name the one whose documents are like these.")
    raise ConfigError(
        f"--precision int8 needs the range of every dimension, and there is none saved for {model}. "
        f"`mmst eval RUN --precisions float32,int8` saves them in the run; or name by --ranges a parquet file of "
        "float32 vectors that `mmst encode` wrote from documents like these."
    )


def _measure_file(path: Path, dim: int | None) -> Ranges:
    """Measure the vectors of a parquet file, a batch at a time."""
    corners: list[np.ndarray] = []
    count, is_unit = 0, True
    try:
        with pq.ParquetFile(path) as file:
            full = _width(path, file, dim)
            for batch in file.iter_batches(batch_size=BATCH, columns=["embedding"]):
                whole = torch.from_numpy(batch.column(0).flatten().to_numpy().reshape(-1, full).copy())
                written = shorten(whole, dim)
                count += len(written)
                is_unit = is_unit and _is_unit(written)
                corners.append(torch.stack([written.amin(dim=0), written.amax(dim=0)]).numpy())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: no parquet file of vectors that `mmst encode` wrote ({error}).") from error
    if count < 2:
        raise DataError(f"{path}: {count} vectors in it; the range of a dimension can't be told from so few.")
    return Ranges(str(path), full, count, is_unit, {dim or full: ranges_of(np.concatenate(corners))})


def _width(path: Path, file: pq.ParquetFile, dim: int | None) -> int:
    kind = file.schema_arrow.field("embedding").type
    if not (pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type)):
        raise DataError(f"{path}: its vectors are {kind}, and ranges are measured on float32 ones.")
    if dim is not None and dim > kind.list_size:
        raise DataError(f"--dim {dim}: the vectors of {path} have {kind.list_size} dimensions.")
    return int(kind.list_size)


def _is_unit(vectors: torch.Tensor) -> bool:
    return bool(((vectors.norm(dim=1) - 1).abs() <= NORM_TOLERANCE).all())
