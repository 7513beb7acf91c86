"""Weights that are no numbers: no model that has some is worth keeping."""

from __future__ import annotations

from torch import nn


def broken_weights(model: nn.Module) -> str | None:
    """Return the name of the first parameter that isn't finite throughout, or None."""
    names, finite = [], []
    for name, weights in model.named_parameters():
        if weights.is_floating_point() and not weights.is_meta:
            names.append(name)
            finite.append(weights.detach().isfinite().all().cpu())
    return next((name for name, good in zip(names, finite, strict=True) if not bool(good)), None)
