"""What the command line names, unopened, for this process and others to open it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.inputs.collection import open_sources
from mmst_cli.inputs.items import Source
from mmst_cli.inputs.table_inputs import TableOptions
from mmst_cli.media.reading import Reader


@dataclass(frozen=True)
class Opening:
    """The inputs of a command, as they are given."""

    inputs: list[str]
    columns: list[str] | None
    reader: Reader
    pages: Any
    table: TableOptions
    folder: Path
    """Where the command was begun, which relative paths begin at."""

    def sources(self, *, again: bool = False) -> list[Source]:
        """Return the sources; see :func:`open_sources`."""
        return open_sources(self.inputs, self.columns, self.reader, self.pages, self.table, again=again)
