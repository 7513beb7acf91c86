"""What `mmst mine` and `mmst score` share: what is told of rows that were written, and of work that was broken off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from mmst_cli.errors import WorkError, first_line, is_memory_shortage
from mmst_cli.mining.mining_vectors import FloatArray
from mmst_cli.output_claim import claimed
from mmst_cli.storage import told_of_disk
from mmst_cli.terminal import Terminal
from mmst_cli.vectors.fitting_batches import MemoryShortageError

GO_ON = "The same command with --resume goes on behind what is done."


@dataclass(frozen=True)
class RowsWritten:
    """What a command wrote.

    Attributes:
        output: the file.
        facts: the figures, a dataclass.
        seconds: how long it took.
        next_step: how to train on it: a command, or lines for a config.
    """

    output: Path
    facts: Any
    seconds: float
    next_step: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        told = {"seconds": round(self.seconds, 3), "next": self.next_step}
        return {"output": str(self.output), **asdict(self.facts), **told}


def mean_scores(scores: FloatArray) -> dict[str, float]:
    """Return the mean score of positives, of negatives and of their differences; nothing of no rows.

    Args:
        scores: of each row's positive, then of its negatives, shape (rows, 1 + negatives).
    """
    if not len(scores):
        return {}
    positive, negatives = scores[:, :1], scores[:, 1:]
    means = {"positive": positive, "negative": negatives, "difference": positive - negatives}
    return {name: round(float(np.mean(values, dtype=np.float64)), 6) for name, values in means.items()}


def figures_table(figures: Iterable[tuple[str, str]]) -> Table:
    """Return figures, each with its name, as a table."""
    table = Table(box=SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, figure in figures:
        table.add_row(name, figure)
    return table


@contextmanager
def claimed_output(output: Path) -> Iterator[None]:
    """Let no other command write a file meanwhile, and say how to go on where the disk is full."""
    with claimed(output, "--output", is_file=True), told_of_disk(output, GO_ON):
        yield


@contextmanager
def told_how_to_go_on(batch_size: int, terminal: Terminal) -> Iterator[None]:
    """Say after an interruption that nothing is lost, and of memory that is too small what to do.

    Raises:
        WorkError: memory was too small.
    """
    try:
        yield
    except KeyboardInterrupt:
        terminal.say(f"interrupted. {GO_ON}")
        raise
    except MemoryShortageError as error:
        raise WorkError(
            f"{error}. Lower what an input holds (media.max_pixels, media.max_frames, media.dpi, or"
            " model.processor.max_pixels), or free the device, and go on by --resume, or"
            " --overwrite where settings changed."
        ) from error
    except Exception as error:
        if not is_memory_shortage(error):
            raise
        raise WorkError(
            f"out of memory: {first_line(error)}. Lower --batch-size, now {batch_size}, or free the device, and begin"
            " anew by --overwrite."
        ) from error
