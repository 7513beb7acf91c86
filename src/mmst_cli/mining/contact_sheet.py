"""A page to look at what was mined: anchors with their positives, negatives, and what was refused and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmst_cli.config.rules_mining import LIMITS
from mmst_cli.config.schema import MineConfig, Role
from mmst_cli.html.previews import Preview, preview
from mmst_cli.html.rendering import MAX_BYTES, page_bytes, render
from mmst_cli.mining.mining_summary import MiningFacts
from mmst_cli.mining.negative_search import Found
from mmst_cli.mining.negative_selection import Reason
from mmst_cli.rows.columns import ROW, RowSet
from mmst_cli.rows.shapes import drawn_from
from mmst_cli.storage import write_text

SAMPLE, HARDEST, LACKING = 24, 8, 4  # anchors shown
REFUSED, NEGATIVES = 5, 5  # documents of each that are shown


@dataclass(frozen=True)
class Shown:
    """A document beside an anchor: its row in the source, its similarity, and why it was refused."""

    document: Preview
    row: int
    score: float
    reason: str = ""


@dataclass(frozen=True)
class Card:
    """An anchor with its documents."""

    row: int
    anchor: Preview
    positives: list[Shown]
    negatives: list[Shown]
    refused: list[Shown]
    more: int
    """Negatives that are not shown."""


def write_sheet(
    path: Path, rows: RowSet, found: Found, facts: MiningFacts, mine: MineConfig, *, title: str, model: str, seed: int
) -> Path:
    """Write the page, under 5 MB: where thumbnails are many or large, fewer anchors are shown.

    Args:
        path: the file.
        rows: what was mined in.
        found: what was mined.
        facts: its figures.
        mine: the settings.
        title: what the page is called.
        model: which model mined.
        seed: chooses the anchors that are shown.
    """
    groups = choose_anchors(found, seed)
    look = _Looker(rows, found)
    cards = {name: [look.card(anchor) for anchor in anchors] for name, anchors in groups.items()}
    values = {"title": title, "created": "", "facts": facts, "settings": settings_shown(mine, model)}
    while True:
        there = {name: shown for name, shown in cards.items() if shown}
        sections = [("verdict", "Outcome"), *((_anchor(name), name) for name in there), ("settings", "Settings")]
        shown = {**values, "groups": there, "sections": sections, "slug": _anchor}
        page = render("mmst_cli.mining", "mine.html", shown)
        if page_bytes(page) <= MAX_BYTES or not there:
            return write_text(path, page)
        longest = max(there, key=lambda name: len(there[name]))
        cards[longest] = cards[longest][: len(cards[longest]) // 2]


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def choose_anchors(found: Found, seed: int) -> dict[str, list[int]]:
    """Return anchors worth looking at: where negatives come closest, some at random, and some with too few."""
    full = np.flatnonzero(found.selection.is_full)
    closeness = found.selection.scores[full, 0] - found.candidates.positive_scores[full]
    hardest = full[np.argsort(-closeness, kind="stable")][:HARDEST]
    rng = np.random.default_rng(seed)
    others = np.setdiff1d(full, hardest)
    lacking = np.flatnonzero(~found.selection.is_full)
    return {
        "Hardest": hardest.tolist(),
        "A random sample": sorted(rng.permutation(others)[:SAMPLE].tolist()),
        "Left out": sorted(rng.permutation(lacking)[:LACKING].tolist()),
    }


def settings_shown(mine: MineConfig, model: str) -> list[tuple[str, str]]:
    """Return the settings that were in force, by name."""
    named = ("num_negatives", "range_min", "range_max", *LIMITS, "sampling_strategy", "second_model", "index")
    given = [(name, getattr(mine, name)) for name in named]
    return [("model", model), *((name, str(value)) for name, value in given if value is not None)]


class _Looker:
    """Reads what is shown; each document once."""

    def __init__(self, rows: RowSet, found: Found) -> None:
        self.rows, self.found = rows, found
        self.anchor, self.positive = rows.with_role(Role.anchor)[0], rows.with_role(Role.positive)[0]
        self.documents: dict[int, Preview] = {}
        numbers = list(rows.source[ROW])
        self.number_of = [int(numbers[place]) for place in drawn_from(rows)[0].tolist()]
        self.score_of = dict(zip(found.kept.tolist(), found.scores[:, 0].tolist(), strict=True))

    def card(self, anchor: int) -> Card:
        found = self.found
        row = int(found.anchors.first_row[anchor])
        places, scores = found.selection.places[anchor].tolist(), found.selection.scores[anchor].tolist()
        mined = [(p, s) for p, s in zip(places, scores, strict=True) if p >= 0]
        negatives = [self._shown(place, score) for place, score in mined[:NEGATIVES]]
        return Card(
            self.number_of[row],
            self._preview(self.anchor, row),
            self._positives(anchor),
            negatives,
            self._refused(anchor, {place for place, _ in mined}),
            len(mined) - len(negatives),
        )

    def _positives(self, anchor: int) -> list[Shown]:
        rows = np.flatnonzero(self.found.anchors.place_of == anchor)[:2].tolist()
        lowest = float(self.found.candidates.positive_scores[anchor])
        return [self._shown(int(self.found.documents.place_of[row]), self.score_of.get(row, lowest)) for row in rows]

    def _refused(self, anchor: int, taken: set[int]) -> list[Shown]:
        """Return the most similar documents that were refused, and of each reason at least the first."""
        candidates, reasons = self.found.candidates, self.found.selection.reasons[anchor].tolist()
        others = [
            (index, Reason(reason))
            for index, reason in enumerate(reasons)
            if reason not in (Reason.NONE, Reason.POSITIVE, Reason.MISSING)
            and int(candidates.places[anchor, index]) not in taken
        ]
        first_of_each = {reason: index for index, reason in reversed(others)}
        named = dict(others)
        chosen = sorted({*list(named)[:REFUSED], *first_of_each.values()})[: REFUSED + 2]
        return [
            self._shown(int(candidates.places[anchor, i]), float(candidates.scores[anchor, i]), named[i].words)
            for i in chosen
        ]

    def _shown(self, place: int, score: float, reason: str = "") -> Shown:
        row = int(self.found.documents.first_row[place])
        if place not in self.documents:
            self.documents[place] = self._preview(self.positive, row)
        return Shown(self.documents[place], self.number_of[row], score, reason)

    def _preview(self, column: Any, row: int) -> Preview:
        return preview(lambda: (column.modality, self.rows.value_at(column, row)))
