"""Parameters that training leaves as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmst_cli.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def freeze(model: SentenceTransformer, patterns: Sequence[str]) -> tuple[int, int]:
    """Keep the parameters from being trained whose names match any of ``patterns``.

    Only their values stay: dropout in a frozen part still drops, and BatchNorm still normalises by the batch and
    moves its running statistics while training.

    Args:
        model: the model; changed in place.
        patterns: regular expressions, searched in names such as ``0.model.visual.patch_embed.proj.weight``.

    Returns:
        How many values are frozen, and how many there are.

    Raises:
        ModelError: a pattern matches no parameter, or nothing is left to train.
    """
    named = dict(model.named_parameters())
    for index, pattern in enumerate(patterns):
        matched = [name for name in named if re.search(pattern, name)]
        if not matched:
            raise ModelError(f"model.frozen.{index}: {pattern}: no parameter matches.{_hint(pattern, list(named))}")
        for name in matched:
            named[name].requires_grad_(False)
    frozen = sum(parameter.numel() for parameter in named.values() if not parameter.requires_grad)
    if patterns and all(not parameter.requires_grad for parameter in named.values()):
        raise ModelError(f"model.frozen: {', '.join(patterns)}: this leaves nothing to train. Freeze less.")
    return frozen, sum(parameter.numel() for parameter in named.values())


def describe_frozen(frozen: int, total: int) -> str:
    """Return a sentence for the terminal."""
    return f"frozen: {_in_millions(frozen)} of {_in_millions(total)} parameters"


def _in_millions(count: int) -> str:
    return f"{count / 1e6:.2f}M" if count < 10**7 else f"{count / 1e6:,.0f}M"


def _hint(pattern: str, names: list[str]) -> str:
    some = names[:: max(1, len(names) // 3)][:3]
    pieces = dict.fromkeys(piece for name in names for piece in name.split("."))
    return f"{did_you_mean(pattern, pieces)} Names are such as {', '.join(some)}."
