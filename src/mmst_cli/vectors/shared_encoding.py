"""Encoding shared over the processes of a run: the first asks and gets all vectors, the others compute their share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmst_cli import processes
from mmst_cli.errors import WorkError
from mmst_cli.model.precision import Precision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def serve_in(model: SentenceTransformer, precision: Precision) -> None:
    """Make a process that computes shares for the first do so under the precision that the first encodes under."""
    if processes.is_first():
        return
    encode = model._inference

    def encode_share(*arguments: Any, **keywords: Any) -> Any:
        with precision.forward_of(model):
            return encode(*arguments, **keywords)

    model._inference = encode_share


@contextmanager
def shared_encoding(model: SentenceTransformer) -> Iterator[bool]:
    """Share what ``model.encode`` is given over all processes, for as long as the context lasts.

    In the first process this gives True, and ``model.encode`` returns the vectors of all its inputs, of which every
    process encoded one part. The others serve it until its context ends, and are then given False: the work is done.
    It is sentence-transformers' own sharing, which its trainer does the same way while training.

    Raises:
        WorkError: a process couldn't encode its share.
    """
    if processes.count() == 1:
        yield True
        return
    from sentence_transformers.util.distributed import distributed_evaluation

    with told_of_shares(), distributed_evaluation(model) as asks:
        yield asks


@contextmanager
def told_of_shares() -> Iterator[None]:
    """Say in a sentence which process couldn't encode its share, and why.

    Raises:
        WorkError: one couldn't.
    """
    try:
        yield
    except RuntimeError as error:
        heading, _, found = str(error).partition("\n")
        if not heading.startswith("Distributed evaluator inference failed"):
            raise
        failed, last = found.partition(":")[0].lower().replace("rank", "process"), found.strip().splitlines()[-1]
        raise WorkError(f"an evaluation's inputs couldn't be encoded in {failed}: {last}") from error
