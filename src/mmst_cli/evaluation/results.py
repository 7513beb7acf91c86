"""What an evaluation found, as it is saved and shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmst_cli.errors import RunError
from mmst_cli.storage import write_json, write_text

BYTES_PER_VALUE = {"float32": 4}


@dataclass(frozen=True)
class Cell:
    """The metrics of one embedding dimension at one precision.

    ``metrics`` maps names without evaluator or dimension, such as ``ndcg@10``, to values.
    """

    dim: int
    precision: str
    bytes_per_vector: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class EvaluationResult:
    """All cells of one evaluator on one model; the first cell is the full dimension."""

    evaluator: str
    model: str
    queries: int
    corpus: int
    primary_metric: str
    cells: list[Cell]
    primary_per_query: list[float] = field(default_factory=list)
    """The primary metric of each query at the full dimension, for paired comparisons; empty if there is none."""

    @property
    def full(self) -> Cell:
        """The cell of the largest dimension."""
        return self.cells[0]

    def primary(self, cell: Cell) -> float:
        """Return the primary metric of a cell."""
        return cell.metrics[self.primary_metric]

    def cell(self, dim: int) -> Cell | None:
        """Return the cell of a dimension, if it was measured."""
        return next((cell for cell in self.cells if cell.dim == dim), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def result_from_dict(values: dict[str, Any]) -> EvaluationResult:
    """Return the result that :meth:`EvaluationResult.to_dict` gave."""
    return EvaluationResult(**{**values, "cells": [Cell(**cell) for cell in values["cells"]]})


def save_result(result: EvaluationResult, folder: Path, suffix: str = "") -> Path:
    """Write ``<evaluator><suffix>.json`` and ``.csv`` (a row per cell) and return the JSON file."""
    buffer = io.StringIO()
    names = list(result.full.metrics)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["dim", "precision", "bytes_per_vector", *names])
    for cell in result.cells:
        row = [cell.dim, cell.precision, cell.bytes_per_vector, *(cell.metrics[name] for name in names)]
        writer.writerow(row)
    write_text(folder / f"{result.evaluator}{suffix}.csv", buffer.getvalue())
    return write_json(folder / f"{result.evaluator}{suffix}.json", result.to_dict())


def load_result(path: Path) -> EvaluationResult:
    """Read a result that :func:`save_result` wrote.

    Raises:
        RunError: it isn't there or isn't one.
    """
    try:
        return result_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: no saved evaluation ({error}).") from error
