"""What a config asks of a model that trains otherwise than one would think."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.schema import Config
from mmst_cli.model.checks import batch_norm_warning, half_precision_warning
from mmst_cli.training.prompts import prompt_warning

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_RATE, _BATCH = 5e-5, 8  # the trainer's own, where the file names none


def model_warnings(config: Config, model: SentenceTransformer) -> list[str]:
    """Return warnings of half precision, of BatchNorm in mini-batches, and of prompts that training doesn't know."""
    keys, batch = loss_keys(config), int(config.training.get("per_device_train_batch_size", _BATCH))
    found = [
        half_precision_warning(model, float(config.training.get("learning_rate", _RATE))),
        *(batch_norm_warning(model, loss_layers(config, keys[name]), batch) for name in training_datasets(config)),
        prompt_warning(config, model),
    ]
    return [warning for warning in dict.fromkeys(found) if warning]
