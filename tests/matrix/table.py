"""The matrix as docs/inputs.md shows it: `python tests/matrix/table.py` prints it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from forms import FORMS, MODELS

CHECKED = ("train", "eval", "encode")


def markdown() -> str:
    """Return a table of kinds and forms, with what is checked of each."""
    lines = [
        "| input | forms in `train`, `eval` and `encode` | forms in `train` and `eval` only |",
        "| --- | --- | --- |",
    ]
    for kind in MODELS:
        everywhere, in_tables = [], []
        for form in (form for form in FORMS if form.kind == kind):
            with tempfile.TemporaryDirectory() as folder:
                case = form.build(Path(folder))
            (in_tables if case.encode_columns is None and case.files is None else everywhere).append(form.name)
        lines.append(f"| {kind} | {', '.join(everywhere)} | {', '.join(in_tables)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
