"""Search in two steps: the nearest by a coarse score first, in the order of a finer one, and then the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import softsign

from mmst_cli.vectors.ranking import Relevance, count_ahead, groups_of, relevant_ranks
from mmst_cli.vectors.scoring import DOCUMENTS, Places, Scoring


@dataclass(frozen=True)
class Rescoring:
    """Of every query, the candidates are the best by ``coarse``; those tied with the last one are candidates too.

    Attributes:
        coarse: whole numbers, which come out the same in whatever shape and order they are computed.
        fine: of the same queries and documents.
        candidates: how many are rescored at least.
    """

    coarse: Scoring
    fine: Scoring
    candidates: int

    @property
    def counts(self) -> tuple[int, int]:
        """How many queries and documents there are."""
        return self.coarse.counts

    @property
    def rescores_all(self) -> bool:
        """Whether every document is a candidate."""
        return self.candidates >= self.counts[1]

    def scoring(self) -> Scoring:
        """Return scores in whose order the documents are found; those of candidates are above 1, others below 0."""
        if self.rescores_all:
            return self.fine
        return self._compared(lambda queries: _cutoffs(self.coarse, queries, self.candidates), _in_bands)

    def ranks(self, wanted: Relevance, deepest: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what :func:`relevant_ranks` does by the coarse scores alone, and by :meth:`scoring`.

        A document that is no candidate has the same rank by both; only candidates stand before one that is. So the
        fine scores of few documents are needed.
        """
        if self.rescores_all:
            return relevant_ranks(self.coarse, wanted, deepest), relevant_ranks(self.fine, wanted, deepest)
        found = [self._ranks(part, wanted, deepest) for part in self.coarse.parts()]
        coarse, both = (torch.cat(ranks) for ranks in zip(*found, strict=True))
        return coarse, both

    def _ranks(self, part: slice, wanted: Relevance, deepest: int) -> tuple[torch.Tensor, torch.Tensor]:
        count, width = self.counts[1], self.coarse.width(part)
        groups = [groups_of(min(width, count - first)) for first in range(0, count, width)]
        # All in one: small pieces that stay would lie between the tiles that go, and hold their memory.
        best = torch.empty(part.stop - part.start, sum(groups), device=self.coarse.device)
        row, document, order = wanted.pairs(part, self.coarse.device)
        own = self.coarse.of_pairs(part, row, document)
        coarse = count_ahead(self.coarse.tiles(part), own, row, document, order, deepest, best)
        near = self._near(part, best, groups)
        few = replace(self, coarse=self.coarse.among(near), fine=self.fine.among(near))
        cutoffs = _cutoffs(few.coarse, part, self.candidates)
        scoring = few._compared(lambda _: cutoffs, _of_candidates)
        chosen = (own >= cutoffs[row, 0]).nonzero().flatten()
        row, document = row[chosen], torch.searchsorted(near, document[chosen])
        both = coarse.clone()
        if len(chosen):
            own = scoring.of_pairs(part, row, document)
            both[chosen] = count_ahead(scoring.tiles(part), own, row, document, order[near], deepest)
        return coarse.cpu(), both.cpu()

    def _near(self, part: slice, best: torch.Tensor, groups: list[int]) -> torch.Tensor:
        """Return the documents that may be candidates of any of these queries, ascending: all that are, and few others.

        Of each query, as many groups as there are candidates reach a score of ``least``; so as many documents do.

        Args:
            part: the queries.
            best: the best score of each group, shape (queries, groups).
            groups: how many there are in each tile.
        """
        if best.shape[1] < self.candidates:
            return torch.arange(self.counts[1], device=best.device)
        least = best.topk(self.candidates, dim=1).values[:, -1:]
        near = torch.zeros(self.counts[1], dtype=torch.bool, device=best.device)
        width = self.coarse.width(part)
        for first, of_tile in zip(range(0, self.counts[1], width), best.split(groups, dim=1), strict=True):
            rows = (of_tile >= least).any(dim=1).nonzero().flatten()
            if len(rows):
                asked, documents = self.coarse.queries(rows + part.start), slice(first, first + width)
                scores = self.coarse.compare(asked, self.coarse.documents(documents))
                near[documents] = (scores >= least[rows]).any(dim=0)
        return near.nonzero().flatten()

    def _compared(
        self,
        cutoffs: Callable[[Places], torch.Tensor],
        join: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Scoring:
        coarse, fine = self.coarse, self.fine
        return replace(
            coarse,
            queries=lambda places: (coarse.queries(places), fine.queries(places), cutoffs(places)),
            documents=lambda places: (coarse.documents(places), fine.documents(places)),
            compare=lambda q, d: join(coarse.compare(q[0], d[0]), fine.compare(q[1], d[1]), q[2]),
        )


def _cutoffs(coarse: Scoring, queries: Places, candidates: int) -> torch.Tensor:
    """Return the coarse score of each query's last candidate, shape (queries, 1)."""
    assert isinstance(queries, slice)
    best = torch.empty(queries.stop - queries.start, 0, device=coarse.device)
    for _, tile in coarse.tiles(queries, DOCUMENTS):
        scores = torch.cat([best, tile], dim=1)
        best = scores.topk(min(candidates, scores.shape[1]), dim=1).values
    return best[:, -1:]


def _of_candidates(coarse: torch.Tensor, fine: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    return torch.where(coarse >= cutoffs, fine, -torch.inf)


def _in_bands(coarse: torch.Tensor, fine: torch.Tensor, cutoffs: torch.Tensor) -> torch.Tensor:
    # In float64, so that no two scores fall together.
    return torch.where(coarse >= cutoffs, softsign(fine.double()) + 2, softsign(coarse.double()) - 1)
