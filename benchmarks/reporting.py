"""How benchmarks tell what they measured: a table for a person, JSON beside it."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OUT = Path(__file__).parent / "out"
PACKAGES = ("mmst-cli", "sentence-transformers", "transformers", "torch", "datasets")


def row(what: str, must_reach: str, measured: str, reached: bool | None) -> dict[str, Any]:
    """Return a line of the table; ``reached`` is None for a figure that has no bar."""
    return {"what": what, "must reach": must_reach, "measured": measured, "reached": reached}


def report(name: str, rows: list[dict[str, Any]], details: dict[str, Any]) -> None:
    """Print the rows, and write them with their details to ``benchmarks/out/<name>.json``."""
    OUT.mkdir(exist_ok=True)
    machine = {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    content = {"rows": rows, "details": details, "machine": machine}
    (OUT / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table("what", "must reach", "measured", "reached")
    for entry in rows:
        reached = "-" if entry["reached"] is None else "yes" if entry["reached"] else "NO"
        table.add_row(entry["what"], entry["must reach"], entry["measured"], reached)
    Console(width=140).print(table)
