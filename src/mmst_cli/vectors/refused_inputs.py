"""Inputs that can be read, but that a model's processor refuses: a text that holds its marks of images, a narrow strip.

Processors take a batch and say nothing of which input was odd; so that one is looked for, by giving them one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmst_cli.errors import DataError, MmstError
from mmst_cli.media.input_errors import concerns_input, explain
from mmst_cli.media.message import clip_options

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 32  # inputs tried at once


class RefusedInputError(DataError):
    """Inputs of a stream that the processor refuses.

    Attributes:
        reasons: place in the stream to what is wrong with the input there.
    """

    def __init__(self, reasons: dict[int, str]) -> None:
        self.reasons = reasons
        place, reason = next(iter(reasons.items()))
        super().__init__(f"input {place}: {reason}")

    @property
    def place(self) -> int:
        """Where the first one is in the stream."""
        return next(iter(self.reasons))

    @property
    def reason(self) -> str:
        """What is wrong with the first one."""
        return self.reasons[self.place]


def refusal(model: SentenceTransformer, value: Any, task: str | None = None) -> str | None:
    """Return why a model's processor refuses an input, None if it takes it."""
    try:
        _process(model, [value], task)
    except Exception as error:
        if not concerns_input(error):
            raise
        return in_words(error)
    return None


def find_refused(model: SentenceTransformer, inputs: Sequence[Any], task: str | None = None) -> dict[int, str]:
    """Return which of some inputs the processor refuses, and why; empty where it refuses none of them by itself."""
    found = ((place, refusal(model, value, task)) for place, value in enumerate(inputs))
    return {place: reason for place, reason in found if reason is not None}


def refused_of_many(model: SentenceTransformer, inputs: Iterable[Any], task: str | None = None) -> dict[int, str]:
    """Do what :func:`find_refused` does for inputs of one kind, read lazily: one by one only where a batch fails."""
    refused: dict[int, str] = {}
    batch: list[Any] = []
    begun = 0

    def look() -> None:
        try:
            _process(model, batch, task)
        except Exception as error:
            if not concerns_input(error):
                raise
            refused.update({begun + place: why for place, why in find_refused(model, batch, task).items()})

    for value in inputs:
        batch.append(value)
        if len(batch) == BATCH:
            look()
            begun, batch = begun + len(batch), []
    if batch:
        look()
    return refused


def in_words(error: BaseException) -> str:
    """Return what a processor said, as the end of a sentence about an input."""
    said = str(error) if isinstance(error, MmstError) else explain(error)
    return f"the model's processor refuses it: {said.rstrip('.')}."


def _process(model: SentenceTransformer, inputs: list[Any], task: str | None) -> None:
    clips = clip_options(inputs)
    options = {"task": task} if task else {}
    model.preprocess(inputs, **options, **({"processing_kwargs": clips} if clips else {}))
