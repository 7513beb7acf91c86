"""What a search found, as a table and as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from mmst_cli.errors import visible
from mmst_cli.searching.exact_search import Hit
from mmst_cli.searching.queries import Query
from mmst_cli.terminal import Terminal


@dataclass(frozen=True)
class SearchResult:
    """What was found, and how."""

    vectors: Path
    """The folder."""
    count: int
    """Vectors that were searched through."""
    left_out: int
    """Vectors that hold NaN or infinity."""
    model: str | None
    """What embedded the queries; None where vectors were given."""
    similarity: str
    dim: int
    precision: str
    index: str
    """exact, or what the index looks through."""
    queries: list[Query]
    hits: list[list[Hit]]
    """For each query, best first."""
    page: Path | None
    """Where they are shown."""
    seconds: float

    @property
    def score(self) -> str:
        """What a score is, in words."""
        return {
            "binary": "dimensions that agree, less those that don't",
            "binary-rescored": "sum of the query's values where the vector's bits are set",
        }.get(self.precision, f"{self.similarity} similarity")

    def score_in_words(self, score: float) -> str:
        """Return a score as it is shown."""
        return f"{score:.0f}" if self.precision == "binary" else f"{score:.4f}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "vectors": str(self.vectors),
            "count": self.count,
            "left_out": self.left_out,
            "model": self.model,
            "similarity": self.similarity,
            "dim": self.dim,
            "precision": self.precision,
            "index": self.index,
            "score": self.score,
            "queries": [
                {
                    "query": query.name,
                    "hits": [{"rank": rank, "id": name, "score": score} for rank, (name, score) in enumerate(hits, 1)],
                }
                for query, hits in zip(self.queries, self.hits, strict=True)
            ],
            "page": None if self.page is None else str(self.page),
            "seconds": self.seconds,
        }


def show_result(result: SearchResult, terminal: Terminal) -> None:
    """Show a table for each query, and where the page is."""
    for query, hits in zip(result.queries, result.hits, strict=True):
        table = Table(title=Text(query.label), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for heading in ("rank", "score"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("id", overflow="fold")
        for rank, (name, score) in enumerate(hits, 1):
            table.add_row(str(rank), result.score_in_words(score), Text(visible(name)))
        terminal.show(table)
    if result.page is not None:
        terminal.show(f"page: {result.page}")
