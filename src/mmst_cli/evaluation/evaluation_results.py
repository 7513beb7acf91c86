"""What an evaluation found, as it is kept, saved and read back, and which of its cells stand out."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmst_cli.errors import RunError
from mmst_cli.storage import whole_file, write_json, write_text

QUERIES = ".queries.parquet"
QUERY, CONTENT, ANSWERS = "query", "content", "answers"
"""The columns of that file which are no cells: ids, names of what the queries ask, and of what was to be found."""


@dataclass(frozen=True)
class Cell:
    """The metrics of one embedding dimension at one precision.

    Attributes:
        dim: embedding dimension.
        precision: float32, float16, int8, binary or binary-rescored.
        bytes_per_vector: bytes of one stored document vector.
        metrics: names without evaluator or dimension, such as ``ndcg@10``, to their mean over queries.
        interval: 95% bootstrap interval of the primary metric's mean over queries; None where no query has
            a value of its own.
        search_ms: milliseconds of scoring and ranking per query, measured on this machine.
    """

    dim: int
    precision: str
    bytes_per_vector: int
    metrics: dict[str, float]
    interval: tuple[float, float] | None = None
    search_ms: float | None = None

    @property
    def key(self) -> str:
        """A name for the cell: ``512 int8``."""
        return f"{self.dim} {self.precision}"


@dataclass(frozen=True)
class EvaluationResult:
    """All cells of one evaluator on one model; the first is the largest dimension in float32.

    Attributes:
        evaluator: its name in the config.
        model: what was measured.
        queries: number of queries.
        corpus: number of documents, after identical ones were made one.
        primary_metric: name of the metric that decides, such as ``ndcg@10``.
        cells: by dimension, largest first, then by precision as asked for.
        duplicates: how many documents were identical to an earlier one and were not counted again.
        recommendation: what to ship, as :mod:`mmst_cli.evaluation.recommendation` words it; None without one.
    """

    evaluator: str
    model: str
    queries: int
    corpus: int
    primary_metric: str
    cells: list[Cell]
    duplicates: int = 0
    recommendation: dict[str, Any] | None = None

    @property
    def full(self) -> Cell:
        """The cell that others are compared with."""
        return self.cells[0]

    def primary(self, cell: Cell) -> float:
        """Return the primary metric of a cell."""
        return cell.metrics[self.primary_metric]

    def cell(self, dim: int, precision: str = "float32") -> Cell | None:
        """Return the cell of a dimension and precision, if it was measured."""
        return next((cell for cell in self.cells if (cell.dim, cell.precision) == (dim, precision)), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Hits:
    """What was found at one cell: arrays of shape (queries, k), best first.

    Attributes:
        documents: positions in the corpus of the retrieval set (``RetrievalSet.document``).
        scores: similarity scores, comparable within a query.
        relevant: whether the document answers the query.
    """

    documents: np.ndarray
    scores: np.ndarray
    relevant: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """A result with what it was made of.

    Attributes:
        result: what is shown and saved as JSON.
        query_ids: one a query.
        per_query: cell key to the primary metric of each query, float64 of shape (queries,); empty for
            evaluators that know no queries.
        hits: cell key to what was found; only right after an evaluation that was asked to keep it.
        contents: one a query, the same for the same decoded query of any data; empty in older files.
        answers: one a query, the same where the same answers count among the same documents; empty in older files.
    """

    result: EvaluationResult
    query_ids: list[str] = field(default_factory=list)
    per_query: dict[str, np.ndarray] = field(default_factory=dict)
    hits: dict[str, Hits] = field(default_factory=dict)
    contents: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


def save_evaluation(evaluation: Evaluation, folder: Path, suffix: str = "") -> Path:
    """Write ``<evaluator><suffix>.json``, ``.csv`` (a row per cell) and ``.queries.parquet``; return the JSON file."""
    result = evaluation.result
    stem = f"{result.evaluator}{suffix}"
    write_text(folder / f"{stem}.csv", _as_csv(result))
    if evaluation.per_query:
        names = {QUERY: evaluation.query_ids, CONTENT: evaluation.contents, ANSWERS: evaluation.answers}
        columns = {**{name: pa.array(values) for name, values in names.items() if values}, **evaluation.per_query}
        with whole_file(folder / f"{stem}{QUERIES}") as partial:
            pq.write_table(pa.table(columns), partial)
    return write_json(folder / f"{stem}.json", result.to_dict())


def load_evaluation(path: Path) -> Evaluation:
    """Read an evaluation by its JSON file, with the values per query if they lie beside it.

    Raises:
        RunError: it isn't there or isn't one.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        measured = [Cell(**{**cell, **_as_measured(cell)}) for cell in values["cells"]]
        result = EvaluationResult(**{**values, "cells": measured})
        queries = path.with_name(f"{path.stem}{QUERIES}")
        if not queries.is_file():
            return Evaluation(result)
        table = pq.read_table(queries)
        cells = [name for name in table.column_names if name not in (QUERY, CONTENT, ANSWERS)]
        contents, answers = (
            table.column(name).to_pylist() if name in table.column_names else [] for name in (CONTENT, ANSWERS)
        )
        per_query = {name: table.column(name).to_numpy() for name in cells}
        return Evaluation(result, table.column(QUERY).to_pylist(), per_query, contents=contents, answers=answers)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise RunError(f"{path}: no saved evaluation ({error}).") from error


def _as_measured(cell: dict[str, Any]) -> dict[str, Any]:
    interval = cell.get("interval")
    metrics = {name: math.nan if value is None else value for name, value in cell["metrics"].items()}
    return {"metrics": metrics, "interval": None if interval is None else (interval[0], interval[1])}


def _as_csv(result: EvaluationResult) -> str:
    buffer = io.StringIO()
    names = list(result.full.metrics)
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["dim", "precision", "bytes_per_vector", "interval_low", "interval_high", "search_ms", *names])
    for cell in result.cells:
        low, high = cell.interval or ("", "")
        values = [cell.metrics[name] for name in names]
        writer.writerow([cell.dim, cell.precision, cell.bytes_per_vector, low, high, cell.search_ms, *values])
    return buffer.getvalue()


def scored_cells(result: EvaluationResult | None) -> list[Cell]:
    """Return the cells that have a size and a finite primary metric."""
    if result is None:
        return []
    scores = ((cell, cell.metrics.get(result.primary_metric, math.nan)) for cell in result.cells)
    return [cell for cell, score in scores if math.isfinite(score) and cell.bytes_per_vector > 0]


def pareto_front(result: EvaluationResult) -> list[Cell]:
    """Return the cells that no other beats in size and quality at once, smallest first.

    A cell is on the front if no other of at most as many bytes has at least its primary metric; of equals,
    the first counts.
    """
    front: list[Cell] = []
    for cell in sorted(scored_cells(result), key=lambda cell: (cell.bytes_per_vector, -result.primary(cell))):
        if not front or result.primary(cell) > result.primary(front[-1]):
            front.append(cell)
    return front


def advised_cells(result: EvaluationResult) -> dict[str, str]:
    """Return cell keys to ``recommended`` or ``may be enough``; empty without a recommendation."""
    advice = result.recommendation
    if not advice or not advice.get("command"):
        return {}
    advised = {f"{advice['dim']} {advice['precision']}": "recommended"}
    if candidate := advice.get("candidate"):
        advised[candidate] = "may be enough"
    return advised


def cell_to_compare(result: EvaluationResult) -> str | None:
    """Return the key of the smaller cell that the recommendation speaks of; None if it is the full one alone."""
    smaller = [key for key in advised_cells(result) if key != result.full.key]
    return smaller[-1] if smaller else None
