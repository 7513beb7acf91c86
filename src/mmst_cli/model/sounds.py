"""Sounds as a model's processor takes them, whatever became of its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmst_cli.model.parts import encoders_of, processor_part

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def keep_whole_sounds(model: SentenceTransformer) -> None:
    """Say in so many words how much of a sound a CLAP hears: what its feature extractor takes by itself.

    A tokenizer that has truncated a text is saved with the length it truncated to. transformers hands that length
    to every part of a processor that is loaded again, and a CLAP then hears the first few samples of each sound. What
    is said here is saved with the model, so that it holds in plain sentence-transformers as well.
    """
    for encoder in encoders_of(model, "audio"):
        samples = getattr(processor_part(encoder, "audio"), "nb_max_samples", None)
        if samples:
            encoder.processing_kwargs.setdefault("audio", {}).setdefault("max_length", int(samples))
