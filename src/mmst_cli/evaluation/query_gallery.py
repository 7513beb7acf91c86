"""Queries worth looking at, with what was found for them at the full and at a smaller size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mmst_cli.evaluation.evaluation_results import Evaluation, Hits
from mmst_cli.evaluation.query_pairing import query_keys
from mmst_cli.html.previews import Preview, preview
from mmst_cli.retrieval.retrieval_set import RetrievalSet

SHOWN = 5  # documents a query
KINDS = {
    "best": "Best",
    "worst": "Worst",
    "improved": "Most improved",
    "hurt": "Most hurt",
    "sample": "A random sample",
}


@dataclass(frozen=True)
class Hit:
    """A document that was found."""

    rank: int
    document_id: str
    score: float
    relevant: bool
    document: Preview


@dataclass(frozen=True)
class Found:
    """What was found for a query at one cell.

    Attributes:
        cell: key of the cell.
        metric: the primary metric of this query at this cell.
        hits: the first documents, best first.
        right_rank: rank of the first document that answers the query; None if none is within ``depth``.
        depth: how many ranks were kept.
    """

    cell: str
    metric: float | None
    hits: list[Hit]
    right_rank: int | None
    depth: int


@dataclass(frozen=True)
class Item:
    """A query, its primary metric at the full cell before and after training, and what was found."""

    query_id: str
    query: Preview
    before: float | None
    after: float
    found: list[Found]


@dataclass(frozen=True)
class Gallery:
    """Items by kind, in the order of :data:`KINDS`; a kind without items is left out."""

    evaluator: str
    metric: str
    full: str
    compared: str | None
    kinds: dict[str, list[Item]] = field(default_factory=dict)

    def items(self) -> list[Item]:
        """Return the items of all kinds."""
        return [item for items in self.kinds.values() for item in items]


def build_gallery(
    evaluation: Evaluation,
    before: Evaluation | None,
    retrieval: RetrievalSet,
    *,
    compared: str | None,
    seed: int = 0,
    per_kind: int = 4,
) -> Gallery:
    """Choose queries by their primary metric at the full cell and look up what was found for them.

    Only what is shown is decoded, one value at a time, and only its preview is kept.

    Args:
        evaluation: with values per query, and with hits where documents are to be shown.
        before: the evaluation of the untrained model, matched by query id.
        retrieval: where queries and documents are read.
        compared: key of the recommended cell, shown beside the full one.
        seed: chooses the sample, and among equals.
        per_kind: queries of each kind.
    """
    result = evaluation.result
    compared = None if compared == result.full.key else compared
    after = evaluation.per_query.get(result.full.key)
    gallery = Gallery(result.evaluator, result.primary_metric, result.full.key, compared)
    if after is None or not len(after):
        return gallery
    looker = _Looker(evaluation, _matched(evaluation, before), retrieval, compared)
    for kind, positions in _choose(after, looker.before, per_kind, np.random.default_rng(seed)).items():
        if positions:
            gallery.kinds[kind] = [looker.item(position) for position in positions]
    return gallery


def _matched(evaluation: Evaluation, before: Evaluation | None) -> np.ndarray:
    """Return each query's metric before training, NaN where it isn't known."""
    values = None if before is None else before.per_query.get(before.result.full.key)
    if before is None or values is None:
        return np.full(len(evaluation.query_ids), np.nan)
    wanted, there = query_keys(evaluation, before)
    known = dict(zip(there, values.tolist(), strict=True))
    return np.array([known.get(key, np.nan) for key in wanted], dtype=np.float64)


def _choose(after: np.ndarray, before: np.ndarray, per_kind: int, rng: np.random.Generator) -> dict[str, list[int]]:
    """Return positions of queries by kind; equals come in a random order, not in the order of the data."""
    order = rng.permutation(np.flatnonzero(np.isfinite(after)))
    ranked = order[np.argsort(-after[order], kind="stable")].tolist()
    gain = after - before
    moved = order[np.isfinite(gain[order])]
    by_gain = moved[np.argsort(-gain[moved], kind="stable")].tolist()
    best = ranked[:per_kind]
    return {
        "best": best,
        "worst": [position for position in reversed(ranked) if position not in best][:per_kind],
        "improved": [position for position in by_gain[:per_kind] if gain[position] > 0],
        "hurt": [position for position in by_gain[::-1][:per_kind] if gain[position] < 0],
        "sample": sorted(rng.choice(order, min(per_kind, len(order)), replace=False).tolist()),
    }


class _Looker:
    """Reads queries and documents for the items of one gallery; each document is read once."""

    def __init__(
        self, evaluation: Evaluation, before: np.ndarray, retrieval: RetrievalSet, compared: str | None
    ) -> None:
        self.evaluation, self.before, self.retrieval = evaluation, before, retrieval
        self.cells = [evaluation.result.full.key, *([compared] if compared else [])]
        self.corpus_ids = retrieval.corpus_ids
        self.documents: dict[int, Preview] = {}

    def item(self, position: int) -> Item:
        old = float(self.before[position])
        per_query = self.evaluation.per_query
        return Item(
            self.evaluation.query_ids[position],
            preview(lambda: self.retrieval.query_at(position)),
            old if np.isfinite(old) else None,
            float(per_query[self.cells[0]][position]),
            [self._found(cell, position) for cell in self.cells if cell in self.evaluation.hits],
        )

    def _found(self, cell: str, position: int) -> Found:
        hits: Hits = self.evaluation.hits[cell]
        documents = hits.documents[position].tolist()
        depth = next((rank for rank, document in enumerate(documents) if document < 0), len(documents))
        relevant = hits.relevant[position][:depth].astype(bool)
        right_rank = int(relevant.argmax()) + 1 if relevant.any() else None
        shown = [
            Hit(
                rank + 1,
                str(self.corpus_ids[documents[rank]]),
                float(hits.scores[position][rank]),
                bool(relevant[rank]),
                self._document(documents[rank]),
            )
            for rank in range(min(SHOWN, depth))
        ]
        values = self.evaluation.per_query.get(cell)
        return Found(cell, None if values is None else float(values[position]), shown, right_rank, depth)

    def _document(self, index: int) -> Preview:
        if index not in self.documents:
            self.documents[index] = preview(lambda: self.retrieval.document_at(index))
        return self.documents[index]
