"""The loss stack of the config, out of sentence-transformers' own classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mmst_cli.config.schema import LossConfig
from mmst_cli.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_loss(layers: Sequence[LossConfig], model: SentenceTransformer) -> nn.Module:
    """Build the loss, innermost layer first.

    Raises:
        ConfigError: a class refuses its arguments, or the model.
    """
    loss: nn.Module | None = None
    for index, layer in enumerate(layers):
        inner = {} if loss is None else {"loss": loss}
        try:
            loss = getattr(losses, layer.type)(model, **inner, **layer.args)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"loss.{index}.args: {layer.type}: {error}") from error
    if loss is None:
        raise ConfigError("loss: empty. Name at least one loss, such as MultipleNegativesRankingLoss.")
    return loss


class MatryoshkaMeter:
    """Adds up the loss at each Matryoshka dimension while training, without touching any value.

    MatryoshkaLoss reports the sum over its dimensions alone. The values are kept on their device until they
    are read, so that measuring doesn't wait for a GPU.
    """

    def __init__(self, loss: nn.Module) -> None:
        self._sums: dict[int, torch.Tensor] = {}
        self._steps: dict[int, int] = {}
        for module in loss.modules():
            if isinstance(module, MatryoshkaLoss):
                self._watch(module)

    def read(self) -> dict[int, float]:
        """Return dimension to mean loss since the last reading, largest dimension first."""
        means = {dim: float(self._sums[dim]) / self._steps[dim] for dim in sorted(self._sums, reverse=True)}
        self._sums, self._steps = {}, {}
        return means

    def _watch(self, matryoshka: MatryoshkaLoss) -> None:
        if matryoshka.uses_gradient_cache:
            decorator = matryoshka.loss.calculate_loss
            decorator.fn = self._recording(decorator.fn)
        else:
            matryoshka.loss.register_forward_hook(
                lambda _module, _inputs, value: self._record(matryoshka.model.forward.dim, value)
            )

    def _recording(self, calculate: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def calculate_and_record(reps: list[list[torch.Tensor]], *args: Any, **kwargs: Any) -> torch.Tensor:
            value = calculate(reps, *args, **kwargs)
            self._record(reps[0][0].shape[-1], value)
            return value

        return calculate_and_record

    def _record(self, dim: int, value: torch.Tensor) -> None:
        if torch.is_grad_enabled():  # an evaluation's loss is not part of the training's
            self._sums[dim] = self._sums.get(dim, 0) + value.detach()
            self._steps[dim] = self._steps.get(dim, 0) + 1
