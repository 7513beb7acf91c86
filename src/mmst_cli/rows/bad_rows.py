"""The rows that are left out because an input of them can't be read: each told and listed once, up to a limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.schema import DatasetConfig, OnBadRow
from mmst_cli.errors import DataError
from mmst_cli.rows.columns import place
from mmst_cli.storage import append_line, write_text
from mmst_cli.terminal import Terminal

MAX_BAD_ROWS = 100  # unless max_bad_rows says otherwise


@dataclass(frozen=True)
class BadRow:
    """A row of which an input can't be read."""

    dataset: str
    row: int | None
    """Its number in the source; the rows of a stream have none."""
    column: str
    error: str
    """Why it can't be read."""
    entry: int | None = None
    """Which entry of a list, or which page, where only that is left out."""
    content: str | None = None
    """What tells a row of a stream apart, so that it counts once however often it comes by."""

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two findings of one broken row of a dataset share, whichever column was read first."""
        return self.row, self.entry, self.content

    def __str__(self) -> str:
        return f"{place(self.dataset, self.row, self.column)}: {self.error}"


class BadRows:
    """The broken rows that a run left out.

    Args:
        limits: dataset to how many of its rows may be left out.
        terminal: where each is told; nowhere if left out.
    """

    def __init__(self, limits: Mapping[str, int], terminal: Terminal | None = None) -> None:
        self.limits, self.terminal = dict(limits), terminal
        self.path: Path | None = None
        self._found: dict[str, dict[tuple[Any, ...], BadRow]] = {name: {} for name in limits}

    @classmethod
    def of(cls, datasets: Mapping[str, DatasetConfig], terminal: Terminal | None = None) -> BadRows:
        """Return none so far, with the limits of those datasets that leave rows out."""
        limits = {
            name: MAX_BAD_ROWS if dataset.max_bad_rows is None else dataset.max_bad_rows
            for name, dataset in datasets.items()
            if dataset.on_bad_row is OnBadRow.skip
        }
        return cls(limits, terminal)

    def of_dataset(self, name: str) -> list[BadRow]:
        """Return those of one dataset, in the order in which they were found."""
        return list(self._found.get(name, {}).values())

    def add(self, bad: BadRow) -> None:
        """Tell of a row and list it, unless that was done before.

        Raises:
            DataError: it is one more than may be left out of its dataset.
        """
        found = self._found[bad.dataset]
        if bad.identity in found:
            return
        found[bad.identity] = bad
        if self.terminal is not None:
            self.terminal.warn(f"left out: {bad}")
        if self.path is not None:
            append_line(self.path, _record(bad))
        self._check_limit(bad.dataset, self.path)

    def read_back(self, path: Path) -> None:
        """Take up what a run listed before it is resumed.

        Raises:
            DataError: it left out more than it may.
        """
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
            try:
                bad = BadRow(**json.loads(line))
            except (ValueError, TypeError):  # the line that it was killed in
                continue
            if bad.dataset in self._found:
                self._found[bad.dataset][bad.identity] = bad
        for name in self.limits:
            self._check_limit(name, path)

    def list_in(self, path: Path) -> None:
        """List those found so far, and those to come, in a file with a line each."""
        self.path = path
        found = [json.dumps(_record(bad), ensure_ascii=False) for name in self.limits for bad in self.of_dataset(name)]
        if found:
            write_text(path, "".join(f"{line}\n" for line in found))

    def refuse_empty_batch(self, name: str, count: int) -> None:
        """Raise for a batch of so many rows, none of which can be read."""
        raise DataError(
            f"datasets.{name}: a batch is left without a row: none of its {count} can be read."
            f"{_listed_in(self.path)} Mend or remove them, or raise per_device_train_batch_size."
        )

    def summary(self) -> list[str]:
        """Return a sentence for each dataset of which rows were left out."""
        counts = {name: len(found) for name, found in self._found.items()}
        return [
            f"data: {name}: {_broken(count)} left out.{_listed_in(self.path)}"
            for name, count in counts.items()
            if count
        ]

    def _check_limit(self, name: str, path: Path | None) -> None:
        count, limit = len(self._found[name]), self.limits[name]
        if count > limit:
            last = str(self.of_dataset(name)[-1]).rstrip(".")
            raise DataError(
                f"datasets.{name}.max_bad_rows: found {_broken(count)}, and {limit:,} may be left out. The last:"
                f" {last}.{_listed_in(path)} Mend or remove them, or raise max_bad_rows."
            )


def _broken(count: int) -> str:
    return f"{count:,} broken {'row' if count == 1 else 'rows'}"


def _listed_in(path: Path | None) -> str:
    return f" All are listed in {path}." if path is not None else ""


def _record(bad: BadRow) -> dict[str, Any]:
    optional = ("entry", "content")
    return {name: value for name, value in asdict(bad).items() if value is not None or name not in optional}
