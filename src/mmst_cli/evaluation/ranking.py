"""Retrieval metrics from the ranks of the relevant documents, without sorting the others.

Every metric of sentence-transformers' InformationRetrievalEvaluator depends only on where the relevant
documents stand in the order (score descending, then document id ascending). A rank is a count: how many
documents score higher, and how many of equal score have a smaller id. Counting is one comparison per pair of
query and document, so that measuring at many dimensions costs little beside the one encoding pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Similarity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SCORES_AT_A_TIME = 2**26  # scores held in memory at once: 256 MiB in float32


@dataclass(frozen=True)
class Relevance:
    """Which documents answer which queries, as index pairs grouped by query.

    ``query`` and ``document`` have shape (pairs,), ``order`` has shape (documents,) and gives each document's
    place among the ids in ascending order, which decides between equal scores.
    """

    query: torch.Tensor
    document: torch.Tensor
    order: torch.Tensor
    queries: int

    @property
    def per_query(self) -> torch.Tensor:
        """How many documents answer each query, shape (queries,)."""
        return torch.bincount(self.query, minlength=self.queries)


def relevance(query_ids: Sequence[str], corpus_ids: Sequence[str], relevant: Mapping[str, set[str]]) -> Relevance:
    """Turn ids into indices. Every query needs at least one relevant document."""
    place = {document: index for index, document in enumerate(corpus_ids)}
    pairs = [(q, place[d]) for q, query in enumerate(query_ids) for d in sorted(relevant[query])]
    ascending = sorted(range(len(corpus_ids)), key=corpus_ids.__getitem__)
    order = torch.empty(len(corpus_ids), dtype=torch.long)
    order[torch.tensor(ascending)] = torch.arange(len(corpus_ids))
    query, document = torch.tensor(pairs).T
    return Relevance(query, document, order, len(query_ids))


def relevant_ranks(
    queries: torch.Tensor, corpus: torch.Tensor, wanted: Relevance, similarity: Similarity
) -> torch.Tensor:
    """Return the rank, from 0, of each relevant document for its query, shape (pairs,), on the CPU.

    Args:
        queries: vectors of shape (queries, dimension).
        corpus: vectors of shape (documents, dimension).
        wanted: the relevant documents.
        similarity: scores (queries, documents) for such vectors, as ``model.similarity`` does.
    """
    order = wanted.order.to(corpus.device)
    ranks = []
    step = max(1, SCORES_AT_A_TIME // len(corpus))
    for first in range(0, len(wanted.query), step):
        query = wanted.query[first : first + step].to(corpus.device)
        document = wanted.document[first : first + step].to(corpus.device)
        distinct, row = torch.unique_consecutive(query, return_inverse=True)
        scores = similarity(queries[distinct], corpus)[row]
        own = scores.gather(1, document[:, None])
        # Written as "not at most", so that a NaN counts as ahead and broken vectors never score well.
        ahead = ~(scores <= own)
        tied_ahead = (scores == own) & (order[None, :] < order[document][:, None])
        ranks.append((ahead | tied_ahead).sum(dim=1).cpu())
    return torch.cat(ranks)


def metrics_per_query(
    ranks: torch.Tensor, wanted: Relevance, ks: Mapping[str, Sequence[int]]
) -> dict[str, torch.Tensor]:
    """Return metric name, such as ``ndcg@10``, to its value for each query: float64 of shape (queries,).

    The definitions are those of InformationRetrievalEvaluator, with binary relevance.

    Args:
        ranks: what :func:`relevant_ranks` returned.
        wanted: the relevant documents.
        ks: cut-offs of each of ``accuracy``, ``precision``, ``recall``, ``ndcg``, ``mrr``, ``map``.
    """
    query, total = wanted.query, wanted.per_query.double()
    ranks = ranks[torch.argsort(query * (len(wanted.order) + 1) + ranks)]  # ascending within each query
    first = torch.cumsum(wanted.per_query, 0) - wanted.per_query
    found_before = torch.arange(len(ranks)) - first[query]

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
            return summed((within & (found_before == 0)) / (ranks.double() + 1))
        if name == "map":
            return summed(within * (found_before + 1) / (ranks.double() + 1)) / total.clamp(max=k)
        gains = 1 / torch.log2(torch.arange(k).double() + 2)
        return summed(within * (1 / torch.log2(ranks.double() + 2))) / gains.cumsum(0)[total.clamp(max=k).long() - 1]

    return {f"{name}@{k}": measure(name, k) for name, cutoffs in ks.items() for k in cutoffs}
