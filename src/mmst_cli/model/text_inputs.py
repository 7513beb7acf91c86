"""Texts for encoders that take nothing else: static and word embeddings want strings, where others take mappings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mmst_cli.model.model_parts import router_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def take_mapped_texts(model: SentenceTransformer) -> None:
    """Let every encoder of a model take ``{"text": ...}``, the form in which a text can't be taken for a path.

    Transformers take it as they are. Static embeddings, word embeddings and bags of words take strings alone, which
    to them are never paths, so that they get what is in the mapping.

    Args:
        model: the model; changed in place. What is saved of it stays the same.
    """
    from sentence_transformers.base.modules import Transformer

    router = router_of(model)
    encoders = [model[0]] if router is None else [modules[0] for modules in router.sub_modules.values()]
    for encoder in encoders:
        if not isinstance(encoder, Transformer) and "preprocess" not in vars(encoder):
            encoder.preprocess = partial(_preprocess_strings, encoder.preprocess)


def _preprocess_strings(preprocess: Any, /, inputs: list[Any], *args: Any, **options: Any) -> Any:
    return preprocess([_string_of(value) for value in inputs], *args, **options)


def _string_of(value: Any) -> Any:
    return value["text"] if isinstance(value, dict) and value.keys() == {"text"} else value
