"""What `mmst encode` was asked for, and all that decides the vectors, as it is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EncodeJob:
    """What decides the vectors; two runs with equal jobs on equal inputs write equal files."""

    model: str
    revision: str | None
    dtype: str
    weights: str
    """Digest of the weights files of a model folder; empty for a hub id."""
    dim: int | None
    prompt_name: str | None
    inputs: list[dict[str, Any]]
    columns: list[str]
    batch_size: int | str
    """Inputs of a forward pass; auto where the memory of the device decides."""
    rows_per_part: int
    precision: str
    ranges: str | None
    """Digest of the ranges that int8 vectors are made with."""
    media: dict[str, Any]
    """How media are read."""
    pages: Any
    """Which pages of a document."""
    table_name: str | None = None
    """Configuration of a hub dataset."""
    split: str | None = None
    """Split of a table, if another than train."""
    sql: str | None = None
    """Query over a table."""
    mixed_precision: str | None = None
    """What forward passes run in, if another than the dtype of the weights: bf16 or fp16."""
