"""Retrieval metrics from the ranks of the relevant documents, without sorting the others.

Every metric here depends only on where the relevant documents stand in the order (score descending, then
document id ascending), which is the order of sentence-transformers' InformationRetrievalEvaluator. A rank is
a count: how many documents score higher, and how many of equal score have a smaller id. Counting is one
comparison per pair of query and document, so that measuring many cells costs little beside the one encoding
pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from mmst_cli.vectors.nearest import best_of_each

Scorer = Callable[[torch.Tensor], torch.Tensor]
"""From query indices of shape (n,) to scores of shape (n, documents)."""

SCORES_AT_A_TIME = 2**26  # scores held in memory at once: 256 MiB in float32


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
    query, document, grade = torch.tensor(pairs).T
    return Relevance(query, document, grade.double(), order, len(query_ids))


def relevant_ranks(score: Scorer, wanted: Relevance, device: torch.device) -> torch.Tensor:
    """Return the rank, from 0, of each relevant document for its query, shape (pairs,), on the CPU."""
    order = wanted.order.to(device)
    ranks = []
    step = max(1, SCORES_AT_A_TIME // len(order))
    for first in range(0, len(wanted.query), step):
        query = wanted.query[first : first + step].to(device)
        document = wanted.document[first : first + step].to(device)
        distinct, row = torch.unique_consecutive(query, return_inverse=True)
        scores = score(distinct)[row]
        own = scores.gather(1, document[:, None])
        # Written as "not at most", so that a NaN counts as ahead and broken vectors never score well.
        ahead = ~(scores <= own)
        tied_ahead = (scores == own) & (order[None, :] < order[document][:, None])
        ranks.append((ahead | tied_ahead).sum(dim=1).cpu())
    return torch.cat(ranks)


def best_hits(score: Scorer, wanted: Relevance, k: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``k`` best documents of each query and their scores, both (queries, k), on the CPU.

    Equal scores stand in ascending order of ids, also where the ``k``-th is tied with the next.
    """
    by_id = torch.argsort(wanted.order).to(device)
    documents, values = [], []
    step = max(1, SCORES_AT_A_TIME // len(by_id))
    for first in range(0, wanted.queries, step):
        scores = score(torch.arange(first, min(first + step, wanted.queries), device=device))[:, by_id]
        top, place = best_of_each(scores, k)
        documents.append(by_id[place].cpu())
        values.append(top.cpu())
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
