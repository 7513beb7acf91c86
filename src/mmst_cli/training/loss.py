"""The losses of the config, out of sentence-transformers' own classes and the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mmst_cli import processes
from mmst_cli.config.automatic_sizes import SIZE
from mmst_cli.config.rules_loss import loss_keys, loss_layers
from mmst_cli.config.rules_masking import MASK
from mmst_cli.config.schema import AUTO, Config, LossConfig
from mmst_cli.config.user_classes import is_dotted, user_loss
from mmst_cli.errors import ConfigError, first_line
from mmst_cli.model.precision import declared_precision
from mmst_cli.training.loss_models import LossModels
from mmst_cli.training.masked_ranking import MaskedRankingLoss

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def build_losses(
    config: Config, model: SentenceTransformer, datasets: Iterable[str]
) -> nn.Module | dict[str, nn.Module]:
    """Build the loss of all datasets, or one a dataset where they differ; what is declared once is built once.

    Args:
        config: the whole config.
        model: the model to train.
        datasets: names of the datasets that a loss is computed on.

    Raises:
        ConfigError: a class refuses its arguments, or the model.
    """
    keys = {name: key for name, key in loss_keys(config).items() if name in datasets}
    models = LossModels(model.device, declared_precision(config.training))
    with torch.random.fork_rng(devices=[]):  # weights of a loss are drawn here, before the trainer sets any seed
        torch.manual_seed(int(config.training.get("seed", 42)))
        built = {key: build_loss(loss_layers(config, key), model, key, models) for key in dict.fromkeys(keys.values())}
    if len(built) == 1:
        return next(iter(built.values()))
    return {name: built[key] for name, key in keys.items()}


def build_loss(
    layers: Sequence[LossConfig], model: SentenceTransformer, key: str = "loss", models: LossModels | None = None
) -> nn.Module:
    """Build one loss, innermost layer first.

    Args:
        layers: its layers.
        model: the model to train.
        key: its dotted key in the file.
        models: loads the models that layers name.

    Raises:
        ConfigError: a class refuses its arguments, or the model.
        ModelError: a model that a layer names can't be loaded.
    """
    models = models or LossModels(model.device)
    loss: nn.Module | None = None
    for index, layer in enumerate(layers):
        inner = {} if loss is None else {"loss": loss}
        own = is_dotted(layer.type)
        named = models.load(layer, f"{key}.{index}.args")
        try:
            kind = user_loss(layer.type) if own else _class_of(layer)
            loss = kind(model, **inner, **{**_with_numbers(layer.args), **named})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{key}.{index}.args: {layer.type}: {first_line(error)}") from error
        except (AssertionError, AttributeError) as error:  # what the library presumes; in a user's class it is a bug
            if own:
                raise
            why = first_line(error) if str(error) else "it is made for models of transformers that embed texts"
            raise ConfigError(f"{key}.{index}.type: {layer.type} doesn't go with this model: {why}.") from error
    if loss is None:
        raise ConfigError(f"{key}: empty. Name at least one loss, such as MultipleNegativesRankingLoss.")
    return loss


def _with_numbers(args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with 1 for a size that is yet to be found."""
    return {name: 1 if name == SIZE and value == AUTO else value for name, value in args.items()}


def _class_of(layer: LossConfig) -> type[nn.Module]:
    """Return the library's class, or ours where an argument asks for what the library's doesn't do."""
    if MASK in layer.args:
        return MaskedRankingLoss
    return getattr(losses, layer.type)  # type: ignore[no-any-return]


class MatryoshkaMeter:
    """Adds up the loss at each Matryoshka dimension while training, without touching any value.

    MatryoshkaLoss reports the sum over its dimensions alone. Of several losses it is the mean over the batches
    that were measured at the dimension, whichever loss they went through. The values are kept on their device
    until they are read, so that measuring doesn't wait for a GPU.
    """

    def __init__(self, *losses: nn.Module) -> None:
        self._sums: dict[int, torch.Tensor] = {}
        self._steps: dict[int, int] = {}
        for module in nn.ModuleList(losses).modules():  # each once, also where datasets share a loss
            if isinstance(module, MatryoshkaLoss):
                self._watch(module)

    def read(self) -> dict[int, float]:
        """Return dimension to mean loss since the last reading, over all processes, largest dimension first."""
        found = processes.gather([(dim, float(value), self._steps[dim]) for dim, value in self._sums.items()])
        self._sums, self._steps = {}, {}
        sums: dict[int, float] = {}
        steps: dict[int, int] = {}
        for dim, value, counted in (entry for of_one in found for entry in of_one):
            sums[dim], steps[dim] = sums.get(dim, 0.0) + value, steps.get(dim, 0) + counted
        return {dim: sums[dim] / steps[dim] for dim in sorted(sums, reverse=True)}

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
