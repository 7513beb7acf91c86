"""Which loss can stand in which wrapper: what would fail at the first step, in a sentence beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmst_cli.config.schema import LossConfig

_NARROW = ("MatryoshkaLoss", "Matryoshka2dLoss")
"""Wrappers that shorten vectors."""
_LAYERED = ("AdaptiveLayerLoss", "Matryoshka2dLoss")
"""Wrappers that go through the layers of a model in turn."""
_WRAPPERS = (*_NARROW, "AdaptiveLayerLoss")
_CACHED = (
    *("CachedMultipleNegativesRankingLoss", "CachedMultipleNegativesSymmetricRankingLoss", "CachedGISTEmbedLoss"),
    "MegaBatchMarginLoss",
)

_FULL_WIDTH = "computes with weights for the full width of the vectors, and {wrapper} shortens them"
_UNSHORTENED = {
    "SoftmaxLoss": _FULL_WIDTH,
    "DenoisingAutoEncoderLoss": _FULL_WIDTH,
    "ContrastiveTensionLoss": "compares with a copy of the model, whose vectors {wrapper} doesn't shorten",
    "ContrastiveTensionLossInBatchNegatives": "compares with a copy of the model, whose vectors {wrapper} doesn't"
    " shorten",
}
"""Losses to the reason why their vectors can't be shortened."""
_PROJECTING = ("MSELoss", "EmbedDistillLoss")
_IN_TURN = ("MatryoshkaLoss", "AdaptiveLayerLoss")
"""The one pair of wrappers that stand in one another, which is what Matryoshka2dLoss is."""
_SEVERAL = "returns several losses by name, and {wrapper} takes one"


def check_stack(layers: Sequence[LossConfig], key: str) -> list[str]:
    """Return a fault where a wrapper can't hold what it wraps.

    Args:
        layers: the layers of one loss, innermost first.
        key: dotted key of that loss.
    """
    for index, wrapper in enumerate(layers[1:], 1):
        for inner in layers[:index]:
            if reason := why_not_in(wrapper.type, inner.type, inner.args):
                other = "" if inner.type in _WRAPPERS else f", or take another loss for {inner.type}"
                advice = f"Leave out {wrapper.type}{other}."
                return [f"{key}.{index}.type: {inner.type} {reason}. {advice}"]
    return []


def why_not_in(wrapper: str, inner: str, args: dict[str, Any]) -> str | None:
    """Return why a loss with these arguments can't stand in a wrapper, None where it can.

    The loss may itself be a wrapper in this one.
    """
    reason = None
    if wrapper in _NARROW and inner in _UNSHORTENED:
        reason = _UNSHORTENED[inner]
    elif wrapper in _NARROW and inner in _PROJECTING and args.get("projection_dim") is not None:
        reason = "with projection_dim " + _FULL_WIDTH
    elif wrapper in _WRAPPERS and inner == "GlobalOrthogonalRegularizationLoss":
        reason = _SEVERAL
    elif wrapper in _WRAPPERS and inner in _WRAPPERS and (inner, wrapper) != _IN_TURN:
        reason = "stands in {wrapper}, and both shorten vectors or go through layers; Matryoshka2dLoss alone does both"
    elif wrapper in _LAYERED and is_cached(inner, args):
        reason = "runs the model again when it goes backward, when {wrapper} no longer holds its layers"
    return reason.format(wrapper=wrapper) if reason else None


def is_cached(inner: str, args: dict[str, Any]) -> bool:
    """Say whether a loss goes through the model in mini-batches and then once more."""
    return inner in _CACHED and not (inner == "MegaBatchMarginLoss" and args.get("use_mini_batched_version") is False)
