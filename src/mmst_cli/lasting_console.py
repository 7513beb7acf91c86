"""Showing what must not end the work: figures stay whole in narrow windows, and a reader may go away."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from mmst_cli.streams import drain

_FIGURE = re.compile(r"\S*\d\S*")


class LastingConsole(Console):
    """A console that falls silent where nobody reads any longer, where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Write nothing from here on."""
        self.quiet = True
        drain(self.file)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, unless that can't be: what is printed is also in the log, and a full disk is told by what needs it."""
        try:
            super().print(*objects, **options)
        except OSError:
            self.on_broken_pipe()


def fitted(result: RenderableType, width: int) -> RenderableType:
    """Return a table as it is if all its figures fit into so many characters, else as a line a row that can wrap.

    Whatever is no table comes back as it is, and a group as what it holds.
    """
    if isinstance(result, Group):
        return Group(*(fitted(one, width) for one in result.renderables))
    if not isinstance(result, Table) or _keeps_figures(result, width):
        return result
    headings = [" ".join(_plain(column.header).split()) for column in result.columns]
    lines = [f"{_plain(result.title)}:"] if result.title else []
    for cells in _rows(result):
        told = [f"{heading} {cell}" if heading else cell for heading, cell in zip(headings, cells, strict=True) if cell]
        lines.append("; ".join(told))
    return Text("\n".join(lines), overflow="fold")


def _rows(table: Table) -> list[list[str]]:
    return [[_plain(cell) for cell in cells] for cells in zip(*(column.cells for column in table.columns), strict=True)]


def _keeps_figures(table: Table, width: int) -> bool:
    """Say whether every figure of a table stands in it unbroken."""
    shown = StringIO()
    Console(file=shown, width=width).print(table, markup=False, highlight=False)
    words = set(shown.getvalue().split())
    return all(words.issuperset(_FIGURE.findall(cell)) for cells in _rows(table) for cell in cells)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell or "")
