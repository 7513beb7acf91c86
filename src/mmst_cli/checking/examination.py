"""Examining many inputs in several processes, and what was found about each of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmst_cli.checking.checked_sets import CheckedSet, DistinctContents, Numbers
from mmst_cli.checking.examined_input import ExaminedInput, examine_input
from mmst_cli.checking.parallel_parts import do_parts, read_parts
from mmst_cli.similarity.candidate_pairs import signature_of
from mmst_cli.similarity.sketch import Sketch
from mmst_cli.storage import whole_file
from mmst_cli.terminal import Progress

PART = 64  # inputs a part
_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("error", "remark", "kind")],
        *[(name, pa.float64()) for name in ("length", "width", "height", "level")],
        ("drafted", pa.bool_()),
        *[(name, pa.binary()) for name in ("digest", "signature", "sketch")],
    ]
)
_SMALL = [name for name in _SCHEMA.names if name != "sketch"]


@dataclass(frozen=True)
class Examination:
    """What was found about the contents that were examined; one entry each, in the same order."""

    content: Numbers
    """The content's number."""
    error: list[str]
    remark: list[str]
    length: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    level: npt.NDArray[np.float64]
    drafted: npt.NDArray[np.bool_]
    digest: list[bytes]
    """Empty where nothing could be read."""
    kind: list[str]
    signature: list[npt.NDArray[Any]]
    sketches: SketchFile

    def __len__(self) -> int:
        return len(self.content)


class SketchFile:
    """Sketchs in one file, read one by one: a thousand pages have thirty megabytes of them."""

    def __init__(self, path: Path, starts: Numbers) -> None:
        self.path, self.starts = path, starts

    def __getitem__(self, place: int) -> Sketch:
        start, end = int(self.starts[place]), int(self.starts[place + 1])
        file = os.open(self.path, os.O_RDONLY)
        try:
            return Sketch.from_bytes(os.pread(file, end - start, start))
        finally:
            os.close(file)


def examine_contents(
    sets: Sequence[CheckedSet],
    contents: DistinctContents,
    chosen: Numbers,
    folder: Path,
    workers: int,
    progress: Progress,
) -> Examination:
    """Examine each chosen content once, in the first cell that holds it.

    Args:
        sets: where the cells are.
        contents: which cell holds what.
        chosen: numbers of the contents to examine, ascending.
        folder: where parts of the work are kept.
        workers: processes.
        progress: counts the contents.
    """
    parts = [chosen[first : first + PART] for first in range(0, len(chosen), PART)]
    examine = _Examine(sets, contents.first)
    paths = do_parts(folder, "inputs", examine, parts, workers, lambda number: progress.advance(len(parts[number])))
    return _gather(paths, chosen, folder / "sketches.bin")


class _Examine:
    """From numbers of contents to a table of what is found about them."""

    def __init__(self, sets: Sequence[CheckedSet], first: Numbers) -> None:
        self.sets, self.first = sets, first

    def __call__(self, contents: Numbers) -> pa.Table:
        found = [self._row(*self.first[content].tolist()) for content in contents]
        return pa.Table.from_pylist(found, schema=_SCHEMA)

    def _row(self, number: int, column: int, row: int) -> dict[str, Any]:
        checked = self.sets[number]
        seen: ExaminedInput = examine_input(checked.rows, checked.inputs[column], row)
        names = ("error", "remark", "length", "width", "height", "level", "drafted")
        values = {name: getattr(seen, name) for name in names}
        if seen.sketch is None:
            return {**values, "kind": "", "digest": b"", "signature": b"", "sketch": b""}
        kind, signature = signature_of(seen.sketch)
        stored = {"signature": signature.tobytes(), "sketch": seen.sketch.to_bytes()}
        return {**values, "kind": kind, "digest": seen.sketch.digest, **stored}


def _gather(paths: Sequence[Path], chosen: Numbers, target: Path) -> Examination:
    """Read the parts one after another, putting the sketches into a file of their own."""
    columns: dict[str, list[Any]] = {name: [] for name in _SMALL}
    starts = [0]
    with whole_file(target) as partial, partial.open("wb") as file:
        for table in read_parts(paths):
            for name in _SMALL:
                columns[name] += table[name].to_pylist()
            for stored in table["sketch"].to_pylist():
                file.write(stored)
                starts.append(starts[-1] + len(stored))
    signatures = [
        np.frombuffer(stored, dtype=np.uint64 if kind.endswith("text") else np.uint8)
        for stored, kind in zip(columns["signature"], columns["kind"], strict=True)
    ]
    numbers = {name: np.array(columns[name], dtype=np.float64) for name in ("length", "width", "height", "level")}
    return Examination(
        content=chosen,
        error=columns["error"],
        remark=columns["remark"],
        drafted=np.array(columns["drafted"], dtype=bool),
        digest=columns["digest"],
        kind=columns["kind"],
        signature=signatures,
        sketches=SketchFile(target, np.array(starts)),
        **numbers,
    )
