"""A page to look at what was found: each query with thumbnails and excerpts of the nearest documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmst_cli.html.previews import Preview
from mmst_cli.html.rendering import MAX_BYTES, page_bytes, render
from mmst_cli.searching.found_documents import look_up
from mmst_cli.searching.search_result import SearchResult
from mmst_cli.storage import write_text
from mmst_cli.vectors.vector_folder import VectorFolder

SHOWN, HITS = 100, 60  # queries, and documents of each, at most


@dataclass(frozen=True)
class Shown:
    """A document that was found."""

    rank: int
    id: str
    score: str
    document: Preview


@dataclass(frozen=True)
class Card:
    """A query with what was found for it."""

    name: str
    query: Preview
    hits: list[Shown]
    more: int
    """Documents that are not shown."""


def write_page(path: Path, result: SearchResult, folder: VectorFolder) -> Path:
    """Write the page, under 5 MB: where thumbnails are many or large, fewer queries are shown.

    Args:
        path: the file.
        result: what was found.
        folder: the collection, which knows where its documents are.
    """
    found = [hits[:HITS] for hits in result.hits[:SHOWN]]
    documents = look_up(folder, (name for hits in found for name, _ in hits))
    cards = [
        Card(
            query.name,
            query.look(),
            [
                Shown(rank, name, result.score_in_words(score), documents[name])
                for rank, (name, score) in enumerate(hits, 1)
            ],
            max(0, len(result.hits[place]) - HITS),
        )
        for place, (query, hits) in enumerate(zip(result.queries, found, strict=False))
    ]
    while True:
        values = {
            "title": f"Search in {result.vectors}",
            "created": "",
            "sections": [("results", "Results"), ("settings", "Settings")],
            "cards": cards,
            "more": len(result.queries) - len(cards),
            "facts": _facts(result),
        }
        page = render("mmst_cli.searching", "search.html", values)
        if page_bytes(page) <= MAX_BYTES or len(cards) == 1:
            return write_text(path, page)
        cards = cards[: len(cards) // 2]


def _facts(result: SearchResult) -> dict[str, str]:
    return {
        "Vectors": f"{result.count:,} in {result.vectors}",
        "Queries": f"{len(result.queries):,}, {f'embedded by {result.model}' if result.model else 'given as vectors'}",
        "Searched at": f"{result.dim} dimensions as {result.precision}",
        "Score": result.score,
        "Search": result.index,
    }
