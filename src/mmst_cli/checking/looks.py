"""Looking at many inputs in several processes, and what was found about each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmst_cli.checking.contents import Contents, Numbers
from mmst_cli.checking.glance import Glance, glance
from mmst_cli.checking.sets import CheckedSet
from mmst_cli.checking.work import do_parts, read_parts
from mmst_cli.similarity.candidate_pairs import signature_of
from mmst_cli.similarity.sketch import Sketch

PART = 64  # inputs a part
_SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in ("error", "remark", "kind")],
        *[(name, pa.float64()) for name in ("length", "width", "height", "level")],
        ("drafted", pa.bool_()),
        *[(name, pa.binary()) for name in ("digest", "sketch", "print")],
    ]
)
_SMALL = [name for name in _SCHEMA.names if name != "print"]


@dataclass(frozen=True)
class Looks:
    """What was found about the contents that were looked at; one entry each, in the same order."""

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
    sketch: list[npt.NDArray[Any]]
    prints: PrintFile

    def __len__(self) -> int:
        return len(self.content)


class PrintFile:
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


def look_at_contents(
    sets: Sequence[CheckedSet],
    contents: Contents,
    chosen: Numbers,
    folder: Path,
    workers: int,
    on_looked: Callable[[int], None],
) -> Looks:
    """Look at each chosen content once, in the first cell that holds it.

    Args:
        sets: where the cells are.
        contents: which cell holds what.
        chosen: numbers of the contents to look at, ascending.
        folder: where parts of the work are kept.
        workers: processes.
        on_looked: told how many more were looked at.
    """
    parts = [chosen[first : first + PART] for first in range(0, len(chosen), PART)]
    look = _Look(sets, contents.first)
    paths = do_parts(folder, "looks", look, parts, workers, lambda number: on_looked(len(parts[number])))
    return _gather(paths, chosen, folder / "prints.bin")


class _Look:
    """From numbers of contents to a table of what they look like."""

    def __init__(self, sets: Sequence[CheckedSet], first: Numbers) -> None:
        self.sets, self.first = sets, first

    def __call__(self, contents: Numbers) -> pa.Table:
        found = [self._row(*self.first[content].tolist()) for content in contents]
        return pa.Table.from_pylist(found, schema=_SCHEMA)

    def _row(self, number: int, column: int, row: int) -> dict[str, Any]:
        checked = self.sets[number]
        seen: Glance = glance(checked.rows, checked.inputs[column], row)
        names = ("error", "remark", "length", "width", "height", "level", "drafted")
        values = {name: getattr(seen, name) for name in names}
        if seen.print is None:
            return {**values, "kind": "", "digest": b"", "sketch": b"", "print": b""}
        kind, sketch = signature_of(seen.print)
        stored = seen.print.to_bytes()
        return {**values, "kind": kind, "digest": seen.print.digest, "sketch": sketch.tobytes(), "print": stored}


def _gather(paths: Sequence[Path], chosen: Numbers, target: Path) -> Looks:
    """Read the parts one after another, putting the sketches into a file of their own."""
    columns: dict[str, list[Any]] = {name: [] for name in _SMALL}
    starts = [0]
    partial = target.with_name(f".{target.name}.partial")
    with partial.open("wb") as file:
        for table in read_parts(paths):
            for name in _SMALL:
                columns[name] += table[name].to_pylist()
            for stored in table["print"].to_pylist():
                file.write(stored)
                starts.append(starts[-1] + len(stored))
    partial.replace(target)
    sketches = [
        np.frombuffer(stored, dtype=np.uint64 if kind.endswith("text") else np.uint8)
        for stored, kind in zip(columns["sketch"], columns["kind"], strict=True)
    ]
    numbers = {name: np.array(columns[name], dtype=np.float64) for name in ("length", "width", "height", "level")}
    return Looks(
        content=chosen,
        error=columns["error"],
        remark=columns["remark"],
        drafted=np.array(columns["drafted"], dtype=bool),
        digest=columns["digest"],
        kind=columns["kind"],
        sketch=sketches,
        prints=PrintFile(target, np.array(starts)),
        **numbers,
    )
