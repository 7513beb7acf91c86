"""CachedMultipleNegativesRankingLoss without what is probably no negative: `args: {mask_false_negatives: 0.1}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.util import all_gather_with_grad, get_rank
from torch import nn

from mmst_cli import processes

Pieces = list[list[torch.Tensor]]
"""Column to the vectors of its mini-batches, shape (mini-batch, dimension) each."""


class MaskedRankingLoss(CachedMultipleNegativesRankingLoss):  # type: ignore[misc]
    """The library's loss, but that documents of other rows which score far above a row's positive are left out.

    A document of another row is no part of the softmax of a row if its similarity to the row's anchor is above that of
    the row's positive by more than the margin, as in the Qwen3 Embedding report (arXiv:2506.05176). A row's own
    negatives stay. In Matryoshka the whole vectors decide for all dimensions: whether a document answers a query is no
    matter of how short the vectors are, and short ones tell it worst. Where nothing is masked, loss and gradients are
    bitwise the library's.

    Args:
        model: the model that is trained.
        mask_false_negatives: the margin, in the unit of the similarity: 0.1 of a cosine.
        arguments: those of CachedMultipleNegativesRankingLoss, without other directions or hardness.
    """

    def __init__(self, model: Any, mask_false_negatives: float, **arguments: Any) -> None:
        super().__init__(model, **arguments)
        self.mask_false_negatives = mask_false_negatives
        self._whole: Pieces = []
        self.masked: Any = 0
        self.compared = 0

    def forward(self, sentence_features: Iterable[dict[str, torch.Tensor]], labels: Any) -> torch.Tensor:
        """Compute the loss of a batch."""
        self._whole = []
        try:
            return super().forward(sentence_features, labels)  # type: ignore[no-any-return]
        finally:
            self._whole = []

    def embed_minibatch_iter(self, *arguments: Any, with_grad: bool, **keywords: Any) -> Iterator[Any]:
        """Embed a column, and keep the vectors: a loss around this one may shorten them."""
        pieces: list[torch.Tensor] = []
        if not with_grad:
            self._whole.append(pieces)
        for found in super().embed_minibatch_iter(*arguments, with_grad=with_grad, **keywords):
            if not with_grad:
                pieces.append(found[0].detach())
            yield found

    def calculate_loss(self, reps: Pieces, labels: Any = None, *, with_backward: bool = False) -> torch.Tensor:
        """Compute the loss over the whole batch as the library does, in pieces of ``mini_batch_size`` anchors."""
        queries, documents = torch.cat(reps[0]), [torch.cat(pieces) for pieces in reps[1:]]
        batch, offset = len(queries), 0
        if self.gather_across_devices:
            documents, offset = [all_gather_with_grad(one) for one in documents], get_rank() * len(queries)
        whole = self._whole_vectors(queries.shape[1])
        together, losses = torch.cat(documents), []
        for begin in range(0, batch, self.mini_batch_size):
            chosen = slice(begin, min(begin + self.mini_batch_size, batch))
            rows = torch.arange(chosen.stop - begin, device=queries.device)
            own = rows + begin + offset
            scores = self.similarity_fct(queries[chosen], together)
            decisive = scores if whole is None else self.similarity_fct(whole[0][chosen], whole[1])
            scores = scores.masked_fill(self._mask(decisive.detach(), own, len(documents)), -torch.inf) * self.scale
            loss = -(scores[rows, own] - torch.logsumexp(scores, dim=1))
            loss = loss.mean() * len(rows) / batch
            if with_backward:
                loss.backward()
                loss = loss.detach()
            losses.append(loss)
        return sum(losses)  # type: ignore[return-value]

    def _whole_vectors(self, dimension: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return anchors and all documents as the model gave them, where those at hand are shorter; else None."""
        if not self._whole or self._whole[0][0].shape[1] == dimension:
            return None
        queries, *documents = (torch.cat(pieces) for pieces in self._whole)
        if self.gather_across_devices:
            documents = [all_gather_with_grad(one) for one in documents]
        return queries, torch.cat(documents)

    def _mask(self, scores: torch.Tensor, own: torch.Tensor, columns: int) -> torch.Tensor:
        """Return which documents of other rows score too far above the positive, shape (anchors, documents)."""
        rows = torch.arange(len(scores), device=scores.device)
        mask = scores > scores[rows, own].unsqueeze(1) + self.mask_false_negatives
        each = scores.shape[1] // columns
        for column in range(columns):
            mask[rows, own + column * each] = False
        if torch.is_grad_enabled():  # an evaluation's are not part of the training's
            self.masked = self.masked + mask.sum()
            self.compared += mask.numel() - len(scores) * columns
        return mask

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return {**super().get_config_dict(), "mask_false_negatives": self.mask_false_negatives}


class MaskMeter:
    """Tells what share of the negatives from other rows was masked. Counts stay on their device until they are read."""

    def __init__(self, *losses: nn.Module) -> None:
        found = nn.ModuleList(losses).modules()  # each once
        self._losses = [module for module in found if isinstance(module, MaskedRankingLoss)]
        self._reset()

    def read(self) -> float | None:
        """Return the share since the last reading, over all processes; None where nothing masks."""
        if not self._losses:
            return None
        counts = processes.gather((sum(int(one.masked) for one in self._losses), sum(o.compared for o in self._losses)))
        self._reset()
        masked, compared = (sum(part) for part in zip(*counts, strict=True))
        return masked / compared if compared else 0.0

    def _reset(self) -> None:
        for loss in self._losses:
            loss.masked, loss.compared = 0, 0
