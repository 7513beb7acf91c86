"""Retrieval metrics from the ranks of the relevant documents, without sorting the others.

Every metric here depends only on where the relevant documents stand in the order (score descending, then
document id ascending), which is the order of sentence-transformers' InformationRetrievalEvaluator. A rank is
a count: how many documents score higher, and how many of equal score have a smaller id. They are counted where the
best score of a few documents reaches that of the relevant one, and no further than the metrics look: so counting costs
little beside the scores themselves.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mmst_cli.vectors.scoring import Scoring

COMPARED = 2**22  # scores compared at once
GROUP = 64  # documents


@dataclass(frozen=True)
class Relevance:
    """Which documents answer which queries, as index pairs grouped by query.

    ``query``, ``document`` and ``grade`` have shape (pairs,); ``order`` has shape (documents,) and gives each
    document's place among the ids in ascending order, which decides between equal scores.
    """

    query: torch.Tensor
    document: torch.Tensor
    grade: torch.Tensor
    order: torch.Tensor
    queries: int

    @property
    def per_query(self) -> torch.Tensor:
        """How many documents answer each query, shape (queries,)."""
        return torch.bincount(self.query, minlength=self.queries)

    def pairs(self, part: slice, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the pairs of some queries, by their places among these, their documents, and ``order``."""
        first, end = torch.searchsorted(self.query, torch.tensor([part.start, part.stop])).tolist()
        row = (self.query[first:end] - part.start).to(device)
        return row, self.document[first:end].to(device), self.order.to(device)


def relevance(
    query_ids: Sequence[str], corpus_ids: Sequence[str], relevant: Mapping[str, Mapping[str, int]]
) -> Relevance:
    """Turn ids into indices. Every query needs at least one relevant document among ``corpus_ids``."""
    place = {document: index for index, document in enumerate(corpus_ids)}
    pairs = [
        (q, place[document], grade) for q, query in enumerate(query_ids) for document, grade in relevant[query].items()
    ]
    ascending = sorted(range(len(corpus_ids)), key=corpus_ids.__getitem__)
    order = torch.empty(len(corpus_ids), dtype=torch.long)
    order[torch.tensor(ascending)] = torch.arange(len(corpus_ids))
    query, document, grade = torch.tensor(pairs).T.contiguous()
    return Relevance(query, document, grade.double(), order, len(query_ids))


def relevant_ranks(scoring: Scoring, wanted: Relevance, deepest: int | None = None) -> torch.Tensor:
    """Return the rank, from 0, of each relevant document for its query, shape (pairs,), on the CPU.

    Of ranks of ``deepest`` and more nothing else is said: they may come out smaller than they are, but not below it.
    """
    ranks = []
    for part in scoring.parts():
        row, document, order = wanted.pairs(part, scoring.device)
        own = scoring.of_pairs(part, row, document)
        ranks.append(count_ahead(scoring.tiles(part), own, row, document, order, deepest or len(order)).cpu())
    return torch.cat(ranks)


def count_ahead(
    tiles: Iterable[tuple[int, torch.Tensor]],
    own: torch.Tensor,
    row: torch.Tensor,
    document: torch.Tensor,
    order: torch.Tensor,
    deepest: int,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return how many documents stand ahead of that of each pair, shape (pairs,), counted until ``deepest``.

    Args:
        tiles: first document and scores of each tile.
        own: the score of each pair.
        row: of each pair, the row of its query in the tiles.
        document: of each pair, its document.
        order: the place of every document among the ids.
        deepest: what need not be surpassed.
        groups: takes the best scores of each tile's groups of documents, tile by tile, shape (queries, groups).
    """
    document, by_document = torch.sort(document)
    own, row, place = own[by_document], row[by_document], order[document]
    ahead, documents, mine, grouped_before = torch.zeros_like(document), document.tolist(), 0, 0
    for first, tile in tiles:
        passed, mine = mine, bisect_left(documents, first + tile.shape[1], lo=mine)
        here = slice(passed, mine)
        tile[row[here], document[here] - first] = own[here]  # however a product was rounded
        grouped = in_groups(tile)
        best = grouped.amax(dim=2)
        if groups is not None:
            groups[:, grouped_before : grouped_before + best.shape[1]] = best
            grouped_before += best.shape[1]
        # Written as "not less" and "not at most", so that NaN counts as ahead and broken vectors never score well.
        reached = ~(best[row] < own[:, None]) & (ahead < deepest)[:, None]
        for some in reached.nonzero().split(max(1, COMPARED // grouped.shape[2])):
            pair, group = some.T
            scores, score = grouped[row[pair], group], own[pair, None]
            ahead.index_add_(0, pair, (~(scores <= score)).sum(dim=1))
            tied, column = (scores == score).nonzero().T
            earlier = order[first + group[tied] * grouped.shape[2] + column] < place[pair[tied]]
            ahead.index_add_(0, pair[tied], earlier.long())
    return torch.empty_like(ahead).scatter_(0, by_document, ahead)


def in_groups(scores: torch.Tensor) -> torch.Tensor:
    """Return scores of shape (rows, documents) as (rows, groups, documents); see :func:`groups_of`."""
    return scores.unflatten(1, (groups_of(scores.shape[1]), -1))


def groups_of(documents: int) -> int:
    """Return in how many groups the documents of a tile are: one if they can't be divided."""
    return 1 if documents % GROUP else documents // GROUP


def best_hits(scoring: Scoring, wanted: Relevance, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` best documents of each query and their scores, both (queries, k), on the CPU.

    Equal scores stand in ascending order of ids, also where the ``k``-th is tied with the next.
    """
    by_id = torch.argsort(wanted.order).to(scoring.device)
    by_id_scoring = scoring.among(by_id)
    documents, values = [], []
    for part in scoring.parts():
        scores, places = by_id_scoring.best(part, k)
        documents.append(by_id[places].cpu())
        values.append(scores.cpu())
    return torch.cat(documents), torch.cat(values)


def metrics_per_query(
    ranks: torch.Tensor, wanted: Relevance, ks: Mapping[str, Sequence[int]]
) -> dict[str, torch.Tensor]:
    """Return metric name, such as ``ndcg@10``, to its value for each query: float64 of shape (queries,).

    The definitions are those of InformationRetrievalEvaluator and of trec_eval; NDCG uses grades as gains,
    the others take any grade above zero as relevant.

    Args:
        ranks: what :func:`relevant_ranks` returned.
        wanted: the relevant documents.
        ks: cut-offs of each of ``accuracy``, ``precision``, ``recall``, ``ndcg``, ``mrr``, ``map``.
    """
    query, total = wanted.query, wanted.per_query.double()
    ascending = torch.argsort(query * (len(wanted.order) + 1) + ranks)  # by rank within each query
    ranks, grade = ranks[ascending].double(), wanted.grade[ascending]
    first = torch.cumsum(wanted.per_query, 0) - wanted.per_query
    place = torch.arange(len(ranks)) - first[query]  # how many relevant documents stand before
    ideal = wanted.grade[torch.argsort(query * (wanted.grade.max() + 1) - wanted.grade)]  # largest grade first

    def summed(values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(wanted.queries, dtype=torch.double).index_add_(0, query, values.double())

    def measure(name: str, k: int) -> torch.Tensor:
        within = ranks < k
        if name == "accuracy":
            return (summed(within) > 0).double()
        if name == "precision":
            return summed(within) / k
        if name == "recall":
            return summed(within) / total
        if name == "mrr":
            return summed((within & (place == 0)) / (ranks + 1))
        if name == "map":
            return summed(within * (place + 1) / (ranks + 1)) / total.clamp(max=k)
        gained = summed(within * grade / torch.log2(ranks + 2))
        return gained / summed((place < k) * ideal / torch.log2(place.double() + 2))

    return {f"{name}@{k}": measure(name, k) for name, cutoffs in ks.items() for k in cutoffs}
