"""What a config asks of a model that trains otherwise than one would think."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.schema import Config, LossConfig
from mmst_cli.config.signatures import loss_signature
from mmst_cli.model.prompts import prompt_warning

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


def half_precision_warning(model: SentenceTransformer, learning_rate: float) -> str | None:
    """Return a warning if half-precision weights are about to be trained in full, else None."""
    trained = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    if not trained & {torch.bfloat16, torch.float16}:
        return None
    return (
        f"the weights are held in half precision and trained in full at a learning rate of {learning_rate:g}: "
        "rounding loses most of each update. Measured with AdamW on bfloat16 weights, the mean update was "
        "0.85 / 0.53 / 0.24 / 0.12 of what float32 weights get at 1e-4 / 5e-5 / 2e-5 / 1e-5, and 13 / 45 / 70 / "
        "85% of the weights did not move at all. The way out: model.dtype=float32 with training.bf16=true "
        "(see configs/vdr-fp32.yaml), at twice the memory for weights, gradients and optimizer."
    )


def batch_norm_warning(model: SentenceTransformer, losses: Sequence[LossConfig], batch_size: int) -> str | None:
    """Return a warning if the loss passes the batch through BatchNorm in smaller pieces, else None.

    Args:
        model: the model.
        losses: the loss's layers, innermost first.
        batch_size: rows on one device: ``per_device_train_batch_size``.
    """
    layers = sum(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())
    cached = next((loss for loss in losses if loss.type.startswith("Cached")), None)
    if not layers or cached is None:
        return None
    if cached.args.get("mini_batch_num_tokens") is not None:
        pieces, remedy = "mini-batches by mini_batch_num_tokens", f"mini_batch_size={batch_size} instead"
    else:
        mini_batch = _mini_batch_size(cached)
        if mini_batch is None or mini_batch >= batch_size:
            return None
        pieces, remedy = f"mini-batches of {mini_batch} (mini_batch_size)", f"mini_batch_size to {batch_size}"
    return (
        f"the model holds BatchNorm ({layers} layer{'' if layers == 1 else 's'}), which normalises by the rows it sees"
        f" together, and {cached.type} passes a batch of {batch_size} through it in {pieces}: it trains on other"
        " vectors than those of the whole batch. Measured on a CLAP, 64 rows at once and 4 x 16 differ by up to"
        f" 0.083. Set {remedy}, or training.per_device_train_batch_size to the size of the mini-batches."
    )


def _mini_batch_size(loss: LossConfig) -> int | None:
    if (declared := loss.args.get("mini_batch_size")) is not None:
        return int(declared)
    signature = loss_signature(loss.type)
    default = signature.parameters["mini_batch_size"].default if signature else None
    return int(default) if default is not None and default.isdigit() else None
