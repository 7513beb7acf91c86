"""Batches that stay on the host: each mini-batch of a cached loss goes to the device when it is due.

So the device holds one mini-batch of inputs, however large the batch is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import uses_gradient_cache
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from torch import nn

from mmst_cli.model.raw_pixels import RawPixels
from mmst_cli.training.masked_ranking import MaskedRankingLoss
from mmst_cli.training.time_account import TimeAccount
from mmst_cli.vectors.forward_pass import on_device

DUE = "mmst_due"
"""Under this key features that are on the host carry an empty tensor of the device: it tells the loss whose random
state to keep, and the model that they have to be copied."""


def takes_mini_batches(loss: nn.Module) -> bool:
    """Say whether a loss hands the model nothing but mini-batches: the library's cached ones, in Matryoshka too."""
    inner = cached_part(loss)
    is_own = isinstance(inner, MaskedRankingLoss)
    return is_cached(inner) and (is_own or type(inner).__module__.startswith("sentence_transformers."))


def is_cached(loss: nn.Module) -> bool:
    """Say whether a loss, or the one in Matryoshka, goes through the model again when it goes backward."""
    return bool(uses_gradient_cache(cached_part(loss)))


def cached_part(loss: nn.Module) -> nn.Module:
    """Return the loss that may take mini-batches: what is in Matryoshka, else the loss itself."""
    return loss.loss if type(loss) is MatryoshkaLoss else loss


class DueInputs:
    """Copies features that a model is called with, where they are on the host, and normalises their pixels.

    Args:
        device: where to.
        raw: how pixels are handed over as bytes; None where they aren't.
        account: counts the time.
    """

    def __init__(self, device: torch.device, raw: RawPixels | None, account: TimeAccount) -> None:
        self._device, self._raw, self._account = device, raw, account
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def watch(self, loss: nn.Module) -> None:
        """Do so for all models of a loss: the one that is trained, and a guide."""
        for module in loss.modules():
            if isinstance(module, SentenceTransformer):
                module.register_forward_pre_hook(self._copy_due)

    def _copy_due(self, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        features = arguments[0]
        if DUE not in features:
            return None
        with self._account.spent("copy"):
            moved = self._moved({name: value for name, value in features.items() if name != DUE})
        if self._raw is not None:
            self._raw.restore(moved)
        return (moved, *arguments[1:])

    def _moved(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return features on the device; a GPU copies them while it still computes what was asked of it before."""
        if self._stream is None:
            return on_device(self._device, features)
        with torch.cuda.stream(self._stream):
            moved = on_device(self._device, features)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        for value in moved.values():
            if isinstance(value, torch.Tensor) and value.is_cuda:
                value.record_stream(current)
        return moved


def left_on_host(inputs: Mapping[str, Any], columns: Iterable[str], device: torch.device) -> dict[str, Any]:
    """Return a batch whose features stay where they are, each column with what says so; the labels are copied."""
    held = [column for column in columns if any(name.startswith(f"{column}_") for name in inputs)]
    due = {f"{column}_{DUE}": torch.empty(0, device=device) for column in held}
    labels = {name: value for name, value in inputs.items() if name == "label"}
    return {**inputs, **on_device(device, labels), **due}
