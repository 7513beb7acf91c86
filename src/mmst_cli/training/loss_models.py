"""Models that losses ask while another is trained, such as the guide of GISTEmbedLoss: loaded once, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmst_cli.config.rules_loss import loss_keys, used_losses
from mmst_cli.config.rules_loss_models import models_of
from mmst_cli.config.schema import Config, LossConfig, Modality, ModelConfig
from mmst_cli.config.signatures import loss_signature
from mmst_cli.errors import ConfigError, ModelError
from mmst_cli.model.load_model import check_loadable, load_model
from mmst_cli.model.precision import Precision, Runtime
from mmst_cli.preparing.prepared_model import check_columns, set_patches
from mmst_cli.rows.columns import RowSet

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LossModels:
    """Loads the models that losses name; equal sections are one model.

    Args:
        device: where to put them.
        precision: of their forward passes, which is that of the run.
    """

    def __init__(self, device: torch.device, precision: Precision | None = None) -> None:
        self._device, self._precision = device, precision or Precision()
        self._loaded: dict[str, SentenceTransformer] = {}

    def load(self, loss: LossConfig, key: str) -> dict[str, SentenceTransformer]:
        """Return argument to model, of a layer of a loss; ``key`` is that of its arguments.

        Raises:
            ModelError: a model can't be loaded.
        """
        named = models_of(loss, loss_signature(loss.type))
        return {name: self._load(section, f"{key}.{name}") for name, section in named.items()}

    def _load(self, section: ModelConfig, key: str) -> SentenceTransformer:
        name = json.dumps(section.model_dump(), sort_keys=True, default=str)
        if name not in self._loaded:
            try:
                model, _ = load_model(section, self._device, self._precision)
            except ModelError as error:
                raise ModelError(f"{key}: {error}") from error
            set_patches(model, section, key)
            model.requires_grad_(False).eval()
            self._precision.take_over(model)
            self._loaded[name] = model
        return self._loaded[name]


def check_models_of_losses(config: Config, runtime: Runtime) -> None:
    """Notice a wrong name, revision or attention implementation of a model that a loss names, before data are read.

    Raises:
        ModelError: a model isn't there, or asks for what this machine lacks.
    """
    for key, layers in used_losses(config).items():
        for index, layer in enumerate(layers):
            for name, section in models_of(layer, loss_signature(layer.type)).items():
                try:
                    check_loadable(section, runtime.device, runtime.precision)
                except ModelError as error:
                    raise ModelError(f"{key}.{index}.args.{name}: {error}") from error


def check_guides(config: Config, losses: nn.Module | Mapping[str, nn.Module], rows: Mapping[str, RowSet]) -> None:
    """Check that a guide sees the inputs that the model sees.

    The library hands a guide the features of the model's processor, or, where its tokens are others, the tokens made
    into text again, in which no image, sound or clip is left.

    Args:
        config: the whole config.
        losses: the loss, or one a dataset, by its name.
        rows: dataset to the rows that its loss is computed on.

    Raises:
        ConfigError: a guide would only see the text of inputs that are more than that.
        ModelError: a guide doesn't take what a column holds.
    """
    keys = loss_keys(config)
    for name, data in rows.items():
        loss = losses[name] if isinstance(losses, Mapping) else losses
        for module in loss.modules():
            guide = getattr(module, "guide", None)
            if guide is None or not hasattr(module, "must_retokenize"):
                continue
            media = next((c for c in data.columns if set(c.modalities) != {Modality.text}), None)
            if media is not None and module.must_retokenize:
                raise ConfigError(
                    f"{keys[name]}: the guide of {type(module).__name__} has another tokenizer than the model, so that"
                    f" it is given texts alone, and column {media.name} of datasets.{name} holds"
                    f" {' and '.join(media.modalities)}. Name a guide with the model's own processor, such as the model"
                    " itself or an earlier run of it."
                )
            try:
                check_columns(guide, name, data.columns)
            except ModelError as error:
                raise ModelError(f"{keys[name]}: the guide of {type(module).__name__}: {error}") from error
