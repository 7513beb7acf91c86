"""A run whose loss, gradient or weights are no longer numbers: noticed before they are kept, its rows written down."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmst_cli import processes
from mmst_cli.errors import WorkError
from mmst_cli.rows.columns import ENTRY, ROW, RowSet
from mmst_cli.storage import write_text

SKIPPED_IN_A_ROW = 30
"""Steps in a row that the loss scaling of fp16 may skip. It begins at 2**16 and halves: 16 are usual at first."""
SHOWN = 200  # characters of a text by which a row of a stream is found again


@dataclass(frozen=True)
class DrawnRows:
    """The rows that a batch was made of: as little of them as finds them again."""

    dataset: str
    rows: tuple[Mapping[str, Any], ...]


class DeadRunError(WorkError):
    """Training can't go on: what it would learn from is no number.

    Args:
        step: the step, from 1; the weights are those after the one before it, unless it says otherwise.
        found: what was found, as a clause.
        batches: the rows that the step was computed on.
    """

    def __init__(self, step: int, found: str, batches: Sequence[DrawnRows] = ()) -> None:
        self.step, self.found, self.batches = step, found, list(batches)
        super().__init__(f"step {step}: {found}.")


def drawn_rows(rows: RowSet, features: Sequence[Mapping[str, Any]]) -> DrawnRows:
    """Return what finds rows again: their numbers, and of a stream, which has none, the texts that they hold."""
    if not rows.is_stream:
        return DrawnRows(rows.key, tuple({name: row[name] for name in (ROW, ENTRY) if name in row} for row in features))
    sources = [source for column in rows.columns for source in column.sources]
    texts = [{s: row[s][:SHOWN] for s in sources if isinstance(row.get(s), str)} for row in features]
    return DrawnRows(rows.key, tuple(texts))


def write_rows(path: Path, batches: Sequence[DrawnRows], row_sets: Mapping[str, RowSet]) -> Path:
    """Write the rows of batches, a line each: ``dataset``, ``row`` in its source and ``entry`` of a list, or texts."""
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for batch in batches for line in _lines(batch, row_sets)]
    return write_text(path, "".join(lines))


def _lines(batch: DrawnRows, row_sets: Mapping[str, RowSet]) -> Iterator[dict[str, Any]]:
    rows = row_sets[batch.dataset]
    for row in batch.rows:
        if ROW not in row:
            yield {"dataset": batch.dataset, "row": None, **({"texts": row} if row else {})}
            continue
        # Of lists and pages the drawn row says which stored one is meant, and that one its number in the source.
        number = row[ROW] if rows.stored is None else rows.stored.select_columns([ROW])[row[ROW]][ROW]
        entry = {"entry": row[ENTRY]} if ENTRY in row and rows.listed is not None else {}
        yield {"dataset": batch.dataset, "row": number, **entry}


class Watch:
    """Looks at the losses and the gradient of every step, before the optimizer takes it.

    All of a step's values are looked at together, so that a GPU is waited for once.
    """

    def __init__(self) -> None:
        self.batches: list[DrawnRows] = []
        """Those of the step that goes on, or of the last one."""
        self._losses: list[torch.Tensor] = []
        self._skipped = 0

    def add(self, rows: DrawnRows | None, loss: torch.Tensor) -> None:
        """Take the loss of a batch of the step that goes on."""
        if not self._losses:
            self.batches = []
        self._losses.append(loss.detach().float().reshape(()))
        self.batches += [] if rows is None else [rows]

    def check(self, step: int, gradient_norm: Any, *, scaled: bool) -> None:
        """Check the step, once its gradient is there.

        Args:
            step: its number, from 1.
            gradient_norm: of all parameters together; a number or a tensor.
            scaled: whether a loss scaler leaves the step out where the gradient isn't finite.

        Raises:
            DeadRunError: a loss or the gradient is not finite, or was not in too many scaled steps in a row.
        """
        losses, self._losses = self._losses, []
        if not losses:
            return
        norm = gradient_norm.full_tensor() if hasattr(gradient_norm, "full_tensor") else gradient_norm
        norm = torch.as_tensor(norm, dtype=torch.float32, device=losses[0].device).reshape(())
        values = torch.stack([*losses, norm])
        if bool(torch.isfinite(values).all()):
            self._skipped = 0
            return
        *found, length = values.tolist()
        pairs = _pairs(found, self.batches)
        if not math.isfinite(length):  # in every process, since the gradient is that of all: whose rows did it?
            pairs = _of_all_processes(pairs)
        batches = [rows for _, rows in pairs if rows is not None]
        broken = [(loss, rows) for loss, rows in pairs if not math.isfinite(loss)]
        if broken:
            said = f"the loss is {broken[0][0]}, which is no number to learn from"
            raise DeadRunError(step, said, [rows for _, rows in broken if rows is not None])
        self._skipped += 1
        if not scaled:
            raise DeadRunError(step, f"the loss is finite, but the length of its gradient is {length}", batches)
        if self._skipped >= SKIPPED_IN_A_ROW:
            said = f"the gradient was not finite in {self._skipped} steps in a row, whatever fp16 scaled the loss by"
            raise DeadRunError(step, said, batches)


def _of_all_processes(pairs: list[tuple[float, DrawnRows | None]]) -> list[tuple[float, DrawnRows | None]]:
    """Return the losses and rows of all processes, in their order."""
    mine = [(loss, rows and [rows.dataset, list(rows.rows)]) for loss, rows in pairs]
    return [
        (loss, DrawnRows(rows[0], tuple(rows[1])) if rows else None)
        for of_one in processes.gather(mine)
        for loss, rows in of_one
    ]


def _pairs(losses: list[float], batches: list[DrawnRows]) -> list[tuple[float, DrawnRows | None]]:
    known: list[DrawnRows | None] = [*batches] if len(batches) == len(losses) else [None] * len(losses)
    return list(zip(losses, known, strict=True))
