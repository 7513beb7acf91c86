"""The table of families: `python tests/families/family_table.py` tries them all and writes docs/model-families.md."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from family_trial import Trial

PAGE = Path(__file__).parents[2] / "docs" / "model-families.md"

INTRODUCTION = """# Families of models

What works, tried on a tiny model of each family: its real classes and processor, with random weights. Raw is a
checkpoint of transformers alone, finished a model of sentence-transformers. Documents in training are of the kind that
stands last under *takes*; all kinds are encoded and compared.

- **inspect**: `mmst inspect-modalities` says how many parameters it has and what it takes, without reading a weight.
- **train**: one step on eight rows, an evaluation before and after it.
- **eval**: `mmst eval RUN` of that run.
- **encode**: `mmst encode RUN` of texts, pictures, sounds and clips.
- **equal**: the vectors are those of plain sentence-transformers for the same inputs, to 2e-5.

Written by `python tests/families/family_table.py`; a test fails where it no longer holds.
"""


def line(trial: Trial) -> str:
    """Return a family's row."""
    family = trial.family
    name = family.name.removesuffix(", finished")
    cells = [name, trial.architecture, ", ".join(family.takes), family.kind, *trial.marks.values()]
    return f"| {' | '.join(cells)} |"


def header() -> list[str]:
    """Return the first two lines of the table."""
    from family_trial import STEPS

    names = ["family", "class", "takes", "kind", *STEPS]
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def page(trials: list[Trial]) -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *header(), *map(line, trials)]) + "\n"


def main() -> None:
    """Try every family and write the page."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    sys.path.insert(0, str(Path(__file__).parent))
    from all_families import FAMILIES
    from family_trial import try_family, write_media

    with tempfile.TemporaryDirectory() as name:
        os.environ["MMST_CACHE"] = f"{name}/cache"
        media = Path(name) / "media"
        media.mkdir()
        write_media(media)
        trials = []
        for number, family in enumerate(FAMILIES):
            folder = Path(name) / str(number)
            folder.mkdir()
            trials.append(try_family(family, media, folder))
    PAGE.write_text(page(trials), encoding="utf-8")


if __name__ == "__main__":
    main()
