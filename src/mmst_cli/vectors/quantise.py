"""Vectors in another precision: what `mmst encode` writes and what `mmst eval` measures, by the same code.

int8 and binary are those of ``sentence_transformers.util.quantize_embeddings``: int8 divides the range of every
dimension into 256 equal steps, binary keeps a bit a dimension, set where the value is above 0. Bits are packed
eight to a byte, the first dimension highest, as uint8 (the library's "ubinary"), which FAISS and usearch read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mmst_cli.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import torch

Vectors: TypeAlias = "torch.Tensor | np.ndarray"

PRECISIONS = ("float32", "float16", "int8", "binary")
VALUE_TYPES = {"float32": np.float32, "float16": np.float16, "int8": np.int8, "binary": np.uint8}
AT_A_TIME = 8192  # vectors
STORED_AS = {"binary-rescored": "binary"}  # a way to search, not another way to store
OVERSAMPLING = 4  # binary-rescored rescores so many times as many candidates as are looked for


def check_precision(precision: str, known: tuple[str, ...] = PRECISIONS) -> str:
    """Return ``precision``; raise ConfigError if it is none of those that are known, which are those to store in."""
    if precision not in known:
        words = f"Write {', '.join(known[:-1])} or {known[-1]}."
        raise ConfigError(f"--precision: {precision}: no such precision. {words}{did_you_mean(precision, known)}")
    return precision


def values_per_vector(dim: int, precision: str) -> int:
    """Return how many stored values make one vector of ``dim`` dimensions: a byte for 8 bits of binary."""
    return (dim + 7) // 8 if STORED_AS.get(precision, precision) == "binary" else dim


def bytes_per_vector(dim: int, precision: str) -> int:
    """Return how many bytes one stored vector of ``dim`` dimensions takes."""
    stored = check_precision(STORED_AS.get(precision, precision))
    return values_per_vector(dim, stored) * np.dtype(VALUE_TYPES[stored]).itemsize


@dataclass(frozen=True)
class VectorFormat:
    """How the vectors of a collection are stored."""

    dimension: int
    precision: str = "float32"
    ranges: np.ndarray | None = None
    """For int8, of shape (2, dimension)."""

    @property
    def values(self) -> int:
        """Stored values of one vector."""
        return values_per_vector(self.dimension, self.precision)

    @property
    def value_type(self) -> np.dtype:
        """The type of a stored value."""
        return np.dtype(VALUE_TYPES[self.precision])

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one stored vector."""
        return bytes_per_vector(self.dimension, self.precision)

    def store(self, vectors: Vectors) -> np.ndarray:
        """Return float32 vectors of shape (n, dimension) as they are stored, of shape (n, values)."""
        return quantise(vectors, self.precision, self.ranges)


def shorten(vectors: torch.Tensor, dim: int | None) -> torch.Tensor:
    """Return what `mmst encode --dim` writes: the first ``dim`` values, normalised again.

    Args:
        vectors: float32 of shape (n, dimension).
        dim: how many to keep; None leaves the vectors as the model gave them.
    """
    import torch

    return vectors if dim is None else torch.nn.functional.normalize(vectors[:, :dim].contiguous(), p=2, dim=1)


def ranges_of(vectors: Vectors, dim: int | None = None) -> np.ndarray:
    """Return the least and the greatest value of every dimension of vectors as `mmst encode --dim` writes them.

    Args:
        vectors: shape (n, dimension), from at least two documents; read a piece at a time.
        dim: what :func:`shorten` is to make of them.

    Returns:
        float32 of shape (2, dim).

    Raises:
        DataError: fewer than two vectors, or one that isn't finite.
    """
    import torch

    if len(vectors) < 2:
        raise DataError(
            f"int8: the range of a dimension can't be told from {len(vectors)} vectors; "
            "take the ranges of a larger collection of the same kind."
        )
    low = high = None
    for first in range(0, len(vectors), AT_A_TIME):
        piece = shorten(torch.as_tensor(vectors[first : first + AT_A_TIME]).float(), dim)
        least, greatest = piece.amin(dim=0), piece.amax(dim=0)
        low = least if low is None else torch.minimum(low, least)
        high = greatest if high is None else torch.maximum(high, greatest)
    assert low is not None and high is not None
    pair: np.ndarray = np.asarray(torch.stack([low, high]).cpu())
    if not np.isfinite(pair).all():
        _as_finite(vectors)
    return np.asarray(pair)


def quantise(vectors: Vectors, precision: str, ranges: np.ndarray | None = None) -> np.ndarray:
    """Return vectors as they are stored in ``precision``.

    Args:
        vectors: float32 of shape (n, dim).
        precision: one of :data:`PRECISIONS`, or ``binary-rescored``, which is stored as ``binary``.
        ranges: for int8, of shape (2, dim) as :func:`ranges_of` gives them; those of ``vectors`` if left out.

    Returns:
        float32, float16 or int8 of shape (n, dim), or uint8 of shape (n, ceil(dim / 8)) for binary.

    Raises:
        ConfigError: no such precision.
        DataError: a vector isn't finite, or too large for float16; or int8 has no ranges, or those of another size.
    """
    stored = check_precision(STORED_AS.get(precision, precision))
    values = _as_finite(vectors)
    if stored == "float32":
        return values
    if stored == "float16":
        return _as_half(values)
    if stored == "binary":
        return np.packbits(values > 0, axis=1)
    import torch

    codes = int8_codes(torch.from_numpy(values), ranges_of(values) if ranges is None else ranges)
    return np.asarray(codes.to(torch.int8))


def int8_codes(vectors: torch.Tensor, ranges: np.ndarray) -> torch.Tensor:
    """Return the whole numbers that int8 keeps of vectors, as float32 of the same shape, on their device.

    Args:
        vectors: float32 of shape (n, dim).
        ranges: of shape (2, dim), as :func:`ranges_of` gives them.

    Raises:
        DataError: the ranges have another size, or aren't ranges.
    """
    import torch

    low, high = torch.from_numpy(_checked_ranges(ranges, vectors.shape[1])).to(vectors.device)
    step = (high - low) / 255
    return vectors.sub(low).div_(step.where(step != 0, 1)).floor_().clamp_(0, 255).sub_(128)


def _as_finite(vectors: Vectors) -> np.ndarray:
    if not isinstance(vectors, np.ndarray):
        vectors = vectors.detach().float().cpu().numpy()
    values: np.ndarray = vectors.astype(np.float32, copy=False)
    if values.ndim != 2:
        raise ValueError(f"vectors of shape (n, dim) are needed, not {values.shape}")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise DataError(f"vector {int(np.argmin(finite))} of {len(values)} holds NaN or infinity; it can't be stored.")
    return values


def _as_half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise DataError("float16: a vector holds a value above 65,504, the largest it has; choose float32.")
    return half


def _checked_ranges(ranges: np.ndarray, dim: int) -> np.ndarray:
    if ranges.shape != (2, dim):
        shape = " x ".join(str(size) for size in ranges.shape)
        raise DataError(f"int8: ranges of 2 x {dim} values are needed for vectors of {dim} dimensions, not {shape}.")
    if not (np.isfinite(ranges).all() and (ranges[0] <= ranges[1]).all()):
        raise DataError("int8: these ranges hold NaN, infinity, or a greatest value below the least one.")
    return ranges.astype(np.float32, copy=False)
