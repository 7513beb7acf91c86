"""Queries that are given as vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mmst_cli.errors import DataError, visible
from mmst_cli.searching.queries import Query
from mmst_cli.vectors.quantise import shorten
from mmst_cli.vectors.vector_folder import VectorFolder, open_vectors


def read_vectors(path: Path, folder: VectorFolder, dim: int) -> tuple[list[Query], torch.Tensor]:
    """Return queries that are given as vectors, float32 of shape (queries, their dimension).

    Args:
        path: a `.npy` file, a parquet file with a column `embedding`, or a folder that `mmst encode` wrote.
        folder: the collection.
        dim: the dimension that is searched in.

    Raises:
        DataError: no such file, or its vectors are none to search this collection with.
    """
    if path.is_dir():
        names, values = _of_folder(path, folder)
    elif not path.is_file():
        raise _fault(path, "no such file or folder.")
    elif path.suffix == ".npy":
        names, values = _of_array(path)
    elif path.suffix == ".parquet":
        names, values = _of_table(path)
    else:
        raise _fault(path, "write a .npy or .parquet file, or a folder that `mmst encode` wrote.")
    if not len(values):
        raise _fault(path, "there are no vectors in it.")
    if not (finite := np.isfinite(values).all(axis=1)).all():
        raise _fault(path, f"vector {int(np.argmin(finite))} holds NaN or infinity.")
    stored, whole = folder.form.dimension, folder.manifest.get("model_dimension")
    width = values.shape[1]
    if width not in (dim, stored, whole):
        known = " or ".join(map(str, dict.fromkeys((dim, stored, whole))))
        raise _fault(path, f"vectors of {width} dimensions; {known} are needed for {folder.path}.")
    vectors = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return [Query(name, None) for name in names], shorten(vectors, stored if width > stored else None)


def _fault(path: Path, reason: str) -> DataError:
    return DataError(f"--vectors: {visible(path)}: {reason}")


def _of_array(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _fault(path, f"no .npy file of numbers ({error}).") from error
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiu":
        raise _fault(path, f"{values.dtype} of shape {values.shape}; numbers of shape (queries, dimension) are needed.")
    values = np.atleast_2d(values)
    return [f"{path}#{row}" for row in range(len(values))], values


def _of_table(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in ("id", "embedding") if name in file.schema_arrow.names]
            table = file.read(columns=names)
        column = table.column("embedding").combine_chunks()
        values = np.array(column.to_pylist(), dtype=np.float32)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        reason = "no parquet file with a column embedding of lists of numbers, all of one length."
        raise _fault(path, reason) from error
    if values.ndim != 2 and len(values):
        raise _fault(path, f"its column embedding holds {column.type}, not lists of numbers.")
    given = table.column("id").to_pylist() if "id" in names else range(len(values))
    return [str(name) if "id" in names else f"{path}#{name}" for name in given], values


def _of_folder(path: Path, folder: VectorFolder) -> tuple[list[str], np.ndarray]:
    queries = open_vectors(path, "--vectors")
    if not queries.form.precision.startswith("float"):
        raise DataError(
            f"--vectors: {path} holds {queries.form.precision}, and queries are given as floats."
            " Encode them with --precision float32."
        )
    of_queries, of_folder = (one.weights or one.manifest.get("model") for one in (queries, folder))
    if of_queries != of_folder:
        raise DataError(
            f"--vectors: {path} was made by {queries.manifest.get('model')} and {folder.path} by"
            f" {folder.manifest.get('model')}, whose weights differ. Encode the queries by the same model."
        )
    pieces = list(queries.pieces(queries.count))
    ids = [name for piece in pieces for name in piece.ids.tolist()]
    return ids, np.concatenate([piece.values for piece in pieces])
