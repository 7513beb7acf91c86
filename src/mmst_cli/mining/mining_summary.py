"""What mining found, in figures and words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from mmst_cli.config.schema import MineConfig
from mmst_cli.mining.doubtful_rows import doubtful_in_words, source_rows
from mmst_cli.mining.negative_search import Found
from mmst_cli.mining.negative_selection import TOLD, Reason
from mmst_cli.mining.rows_written import RowsWritten, figures_table, mean_scores
from mmst_cli.rows.columns import RowSet
from mmst_cli.terminal import Terminal

LOOSEN = {
    Reason.ABSOLUTE_MARGIN: "a smaller absolute_margin",
    Reason.RELATIVE_MARGIN: "a smaller relative_margin",
    Reason.MAX_SCORE: "a higher max_score",
    Reason.MIN_SCORE: "a lower min_score",
}


@dataclass(frozen=True)
class MiningFacts:
    """What mining found.

    Attributes:
        rows: rows that were mined for.
        kept: rows that got all their negatives.
        anchors, documents: distinct ones.
        considered: documents looked at for each anchor.
        refused: reason to the number of (anchor, document) pairs it kept from being negatives.
        lacking: the same, of the anchors that got too few negatives.
        scores: mean similarity of positives, of negatives, and of their differences, over the rows that were kept.
        doubtful: rows, by their numbers in the source, that were left out for the similarity of their positive.
    """

    rows: int
    kept: int
    anchors: int
    documents: int
    considered: int
    refused: dict[str, int]
    lacking: dict[str, int]
    scores: dict[str, float]
    doubtful: list[int] = field(default_factory=list)

    @property
    def left_out(self) -> int:
        """Rows that got too few negatives."""
        return self.rows - self.kept - len(self.doubtful)


def facts_of(found: Found, rows: RowSet) -> MiningFacts:
    """Return the figures of what was found for rows."""
    reasons = found.selection.reasons[:, : found.considered]
    lacking = reasons[~found.selection.is_full]
    return MiningFacts(
        rows=len(found.anchors.place_of),
        kept=len(found.kept),
        anchors=len(found.anchors.first_row),
        documents=len(found.documents.first_row),
        considered=min(found.considered, len(found.documents.first_row)),
        refused=_counts(reasons),
        lacking=_counts(lacking),
        scores=mean_scores(found.scores),
        doubtful=source_rows(rows, found.doubtful),
    )


def _counts(reasons: Any) -> dict[str, int]:
    counts = {reason.words: int((reasons == reason).sum()) for reason in TOLD}
    return {words: count for words, count in counts.items() if count}


def facts_table(facts: MiningFacts) -> Table:
    """Return the figures as a table."""
    return figures_table(
        [
            ("rows with negatives", f"{facts.kept:,} of {facts.rows:,}"),
            ("distinct anchors, documents", f"{facts.anchors:,}, {facts.documents:,}"),
            *((f"mean similarity: {name}", f"{value:.4f}") for name, value in facts.scores.items()),
            *((f"refused: {words}", f"{count:,}") for words, count in facts.refused.items()),
        ]
    )


def advice(facts: MiningFacts, mine: MineConfig) -> str | None:
    """Return what to do where rows were left out."""
    if not facts.left_out:
        return None
    rows = "1 row was" if facts.left_out == 1 else f"{facts.left_out:,} rows were"
    lacked = "a negative" if mine.num_negatives == 1 else f"{mine.num_negatives} negatives"
    sentence = f"{rows} left out for lack of {lacked}."
    ways = [LOOSEN[reason] for reason in LOOSEN if reason.words in facts.lacking]
    if facts.considered < facts.documents:
        ways.append(f"a higher range_max (it looked at {facts.considered} documents for each anchor)")
    if mine.range_min:
        ways.append("a lower range_min")
    ways.append("fewer num_negatives" if mine.num_negatives > 1 else "more rows to choose from")
    worst = max(facts.lacking.items(), key=lambda entry: entry[1], default=None)
    most = f" Most of their documents were refused for {worst[0]}." if worst else ""
    return f"{sentence}{most} More rows get theirs by {_either(ways)}."


def nothing_kept(facts: MiningFacts, mine: MineConfig) -> str:
    """Return why no row got its negatives, and what to do."""
    doubtful = doubtful_in_words(facts.doubtful, mine.min_positive_score, "of them")
    lower = f"{doubtful} Lower it, or take another model." if doubtful else None
    return " ".join(filter(None, [advice(facts, mine), lower]))


def _either(ways: list[str]) -> str:
    return ways[0] if len(ways) == 1 else f"{', '.join(ways[:-1])} or {ways[-1]}"


@dataclass(frozen=True)
class MiningResult(RowsWritten):
    """What `mmst mine` did, with the page to look at."""

    sheet: Path

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**super().to_dict(), "sheet": str(self.sheet), "left_out": self.facts.left_out}


def say_result(result: MiningResult, mine: MineConfig, terminal: Terminal) -> None:
    """Show what was found, where it is and what to run next."""
    terminal.show(facts_table(result.facts))
    if sentence := advice(result.facts, mine):
        terminal.warn(sentence)
    if sentence := doubtful_in_words(result.facts.doubtful, mine.min_positive_score, "in what --json prints"):
        terminal.warn(sentence)
    each = "1 negative" if mine.num_negatives == 1 else f"{mine.num_negatives} negatives"
    terminal.show(f"Wrote {result.facts.kept:,} rows with {each} each to {result.output} in {result.seconds:.1f} s.")
    terminal.show(f"look at them: {result.sheet}")
    if "\n" in result.next_step:
        terminal.show(f"next, in a config for `mmst train`:\n{result.next_step}")
    elif result.next_step:
        terminal.show(f"next: {result.next_step}")
