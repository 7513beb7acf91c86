"""Full determinism, where a config asks for it: the same bits from the same run on a GPU, at the price of speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmst_cli.errors import WorkError


def make_deterministic(training: Mapping[str, Any]) -> None:
    """Make torch take deterministic algorithms alone, and seed it, where ``training.full_determinism`` says so.

    The trainer does so when it is built. That is after the first evaluation, and too late for cuBLAS, which reads its
    settings when it is first used; and no trainer is built in an evaluation.
    """
    if training.get("full_determinism"):
        from transformers import enable_full_determinism

        enable_full_determinism(int(training.get("seed", 42)))


@contextmanager
def told_of_missing_algorithms() -> Iterator[None]:
    """Turn torch's refusal of an operation that has no deterministic algorithm into a sentence.

    Raises:
        WorkError: an operation has none.
    """
    try:
        yield
    except RuntimeError as error:
        operation, refused, _ = str(error).partition(" does not have a deterministic implementation")
        if not refused:
            raise
        raise WorkError(
            f"training.full_determinism: true, but {operation} has no deterministic algorithm on this device. Write"
            " training.full_determinism=false, or model.attn_implementation=eager if it is an attention."
        ) from error
