"""The table of losses: `python tests/losses/loss_table.py` tries them all and writes it into docs/losses.md."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
BEGIN, END = "<!-- losses -->", "<!-- /losses -->"


def table(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the lines of the table, given loss to way to what came of it; reasons stand below it, each once."""
    from loss_trial import WAYS, caching

    names = ["loss", *WAYS, "cached"]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    reasons: list[str] = []
    for loss, outcomes in found.items():
        cells = []
        for way in WAYS:
            outcome = outcomes[way]
            if outcome != "yes":
                if outcome not in reasons:
                    reasons.append(outcome)
                outcome = f"no ({reasons.index(outcome) + 1})"
            cells.append(outcome)
        lines.append(f"| {' | '.join([loss, *cells, caching(loss)])} |")
    return [*lines, "", *(f"{number}. It {reason}." for number, reason in enumerate(reasons, 1))]


def written() -> list[str]:
    """Return the lines that stand in the page."""
    page = PAGE.read_text(encoding="utf-8")
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip().splitlines()


def main() -> None:
    """Try every loss and write the table."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    sys.path.insert(0, str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as name:
        os.environ["MMST_CACHE"] = f"{name}/cache"
        from loss_trial import WAYS, try_loss

        from mmst_cli.config.signatures import loss_names

        found: dict[str, dict[str, str]] = {}
        for loss in loss_names():
            for number, way in enumerate(WAYS):
                folder = Path(name) / f"{loss}-{number}"
                folder.mkdir()
                found.setdefault(loss, {})[way] = try_loss(loss, way, folder)
    page = PAGE.read_text(encoding="utf-8")
    lines = "\n".join(table(found))
    PAGE.write_text(f"{page[: page.index(BEGIN)]}{BEGIN}\n{lines}\n{page[page.index(END) :]}", encoding="utf-8")


if __name__ == "__main__":
    main()
