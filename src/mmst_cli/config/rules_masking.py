"""Rules for `mask_false_negatives`, an argument that mmst adds to a loss of sentence-transformers."""

from __future__ import annotations

import math

from mmst_cli.config.arguments import describe
from mmst_cli.config.schema import LossConfig

MASK = "mask_false_negatives"
MASKED = "CachedMultipleNegativesRankingLoss"
"""The loss that takes it."""
_APART = ("directions", "partition_mode", "hardness_mode", "hardness_strength")


def check_masking(loss: LossConfig, key: str) -> list[str]:
    """Return the faults of a loss's masking; ``key`` is that of its arguments."""
    if MASK not in loss.args:
        return []
    margin, at = loss.args[MASK], f"{key}.{MASK}"
    if loss.type != MASKED:
        return [f"{at}: only {MASKED} has it. Take that one, or leave it out."]
    if isinstance(margin, bool) or not isinstance(margin, int | float) or not math.isfinite(margin):
        return [
            f"{at}: found {describe(margin)}, but it takes a number: by how much a document of another row may score"
            " above the positive, such as 0.1. Leave it out to mask nothing."
        ]
    return [
        f"{key}.{name}: found beside {MASK}, which is about the documents that a query is compared with alone. Leave"
        " one of the two out."
        for name in _APART
        if name in loss.args
    ]
