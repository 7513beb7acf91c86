"""Vectors that are measured have to be numbers: of others, scores would be numbers that mean nothing."""

from __future__ import annotations

import torch

from mmst_cli.errors import WorkError


class BrokenVectorsError(WorkError):
    """A model gave vectors that hold NaN or infinity."""


def check_vectors(vectors: torch.Tensor, of: str, evaluator: str) -> torch.Tensor:
    """Return vectors, shape (inputs, dimension), all of which are finite.

    Args:
        vectors: what a model gave.
        of: what was encoded, in the plural.
        evaluator: for messages.

    Raises:
        BrokenVectorsError: some are not.
    """
    finite = vectors.isfinite().all(dim=-1)
    if bool(finite.all()):
        return vectors
    broken = (~finite).nonzero().flatten()
    raise BrokenVectorsError(
        f"evaluators.{evaluator}: the model gives no finite vector for {len(broken):,} of {len(vectors):,} {of}, the"
        f" first of which is number {int(broken[0])}: its weights are broken, or its precision too small."
    )
