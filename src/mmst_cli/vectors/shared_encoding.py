"""Encoding shared over the processes of a run: the first asks and gets all vectors, the others compute their share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mmst_cli import processes
from mmst_cli.errors import WorkError
from mmst_cli.model.precision import Precision
from mmst_cli.vectors.input_stream import InputPipeline
from mmst_cli.vectors.windows import Encoded

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def serve_in(model: SentenceTransformer, precision: Precision) -> None:
    """Let a process encode its share of inputs, or of references to them, when the first asks for it.

    Args:
        model: the model; changed in place.
        precision: what the first process encodes under.
    """
    if processes.count() == 1:
        return
    encode = model._inference

    def encode_share(inputs: list[Any], *, stream: dict[str, Any] | None = None, **keywords: Any) -> Any:
        with nullcontext() if processes.is_first() else precision.forward_of(model):
            return encode(inputs, **keywords) if stream is None else _encode_references(model, inputs, **stream)

    model._inference = encode_share


def _encode_references(
    model: SentenceTransformer, references: list[Any], *, options: dict[str, Any], **settings: Any
) -> list[Encoded]:
    """Return what becomes of references, without these: the first process has them."""
    with InputPipeline(model, **settings) as pipeline:
        found = [
            replace(encoded, references=[None] * len(encoded.references), vectors=encoded.vectors.cpu())
            for encoded in pipeline.encode_here(references, options, len(references))
        ]
        return [replace(encoded, limits=pipeline.limits) for encoded in found]


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
        raise WorkError(f"inputs couldn't be encoded in {failed}: {last}") from error
