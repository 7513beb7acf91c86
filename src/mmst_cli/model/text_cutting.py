"""Texts that stand with images or clips in one input, cut to the model's limit without cutting into these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmst_cli.errors import DataError
from mmst_cli.media.message import clip_options
from mmst_cli.model.model_parts import router_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MEDIA = ("image", "audio", "video")
ROUNDS = 8  # of cutting and counting again: tokens at a cut may join otherwise
NO_LIMIT = 1 << 30  # tokens


def cut_texts_beside_media(model: SentenceTransformer) -> None:
    """Let a text give way where it and a medium have more tokens than the model's limit.

    Tokenizers cut at the end. Where a medium stands there, the tokens that stand for it are lost and its processor
    fails. What processors take as it is stays as it is.

    Args:
        model: the model; changed in place. What is saved of it stays the same.
    """
    from sentence_transformers.base.modules import Transformer

    router = router_of(model)
    encoders = [model[0]] if router is None else [modules[0] for modules in router.sub_modules.values()]
    for encoder in encoders:
        several = any(kind == "message" or isinstance(kind, tuple) for kind in getattr(encoder, "modalities", ()))
        if isinstance(encoder, Transformer) and several and "preprocess" not in vars(encoder):
            encoder.preprocess = partial(_preprocess_cut, encoder, encoder.preprocess)


def _preprocess_cut(encoder: Any, preprocess: Any, /, inputs: list[Any], *args: Any, **options: Any) -> Any:
    try:
        return preprocess(inputs, *args, **options)
    except Exception:
        limit = encoder.max_seq_length
        if limit is None or limit >= NO_LIMIT or not any(_holds_media(value) for value in inputs):
            raise
        # One by one: what an input becomes must not depend on those beside it.
        alone = [partial(preprocess, *args, **_options_of(value, options)) for value in inputs]
        cut = [_cut(encoder, one, value, limit) for one, value in zip(alone, inputs, strict=True)]
        if all(one is other for one, other in zip(cut, inputs, strict=True)):
            raise
        return preprocess(cut, *args, **options)


def _options_of(value: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with what they say of clips in the chats of a batch said of one chat."""
    given = options.get("processing_kwargs") or {}
    if "video_metadata" not in given.get("video", {}):
        return options
    others = {kind: values for kind, values in given.items() if kind != "video"}
    return {**options, "processing_kwargs": {**others, **clip_options([value])}}


def _cut(encoder: Any, preprocess: Any, value: Any, limit: int) -> Any:
    """Return an input whose text is shorter, or the same one where length is not what is wrong with it.

    Raises:
        DataError: its media alone have more tokens than the limit.
    """
    try:
        preprocess([value])
        return value
    except Exception:
        with without_limit(encoder):
            count = _count(preprocess, value)
    if count is None or count <= limit:
        return value
    for _ in range(ROUNDS):
        shorter = _drop(encoder.tokenizer, value, count - limit)
        if shorter is None:
            media = " and ".join(dict.fromkeys(_media_of(value)))
            raise DataError(
                f"the {media} of an input takes {count:,} tokens with what stands around it, and the model {limit:,}."
                " Raise model.processor.model_max_length, or make it smaller, as by model.processor.max_pixels."
            )
        value = shorter
        with without_limit(encoder):
            count = _count(preprocess, value)
        if count is None or count <= limit:
            break
    return value


def _count(preprocess: Any, value: Any) -> int | None:
    try:
        return int(preprocess([value])["input_ids"].shape[1])
    except Exception:  # then it isn't the limit that it fails by
        return None


@contextmanager
def without_limit(encoder: Any) -> Iterator[None]:
    """Let an encoder's tokenizer cut nothing for as long as the context lasts."""
    limit = encoder.max_seq_length
    encoder.max_seq_length = NO_LIMIT
    try:
        yield
    finally:
        encoder.max_seq_length = limit


def lost_tokens(encoder: Any, tokens: float | None, count_again: Callable[[], npt.NDArray[np.float64] | None]) -> int:
    """Return how many tokens of an input an encoder's limit cuts off; 0 where it has none.

    Args:
        encoder: what holds the limit.
        tokens: those that are left; None where inputs don't become tokens.
        count_again: counts the tokens of the input alone once more, for without the limit there may be others.
    """
    limit = getattr(encoder, "max_seq_length", None)
    if tokens is None or limit is None or not tokens >= limit < NO_LIMIT:
        return 0
    with without_limit(encoder):
        counts = count_again()
    return 0 if counts is None else int(counts[0]) - int(tokens)


def _media_of(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (kind for kind in MEDIA if kind in value)
    elif isinstance(value, list):
        contents = (message.get("content") for message in value if isinstance(message, dict))
        parts = (part for content in contents if isinstance(content, list) for part in content)
        yield from (part["type"] for part in parts if part.get("type") in MEDIA)
    elif not isinstance(value, str):
        yield "image"


def _holds_media(value: Any) -> bool:
    return any(True for _ in _media_of(value))


def _drop(tokenizer: Any, value: Any, excess: int) -> Any:
    """Return a copy of an input without so many tokens of its last text, or None where there is no text left."""
    if isinstance(value, dict):
        if not value.get("text"):
            return None
        return {**value, "text": _shorten(tokenizer, value["text"], excess)}
    if not isinstance(value, list):
        return None
    chat = [{**message} for message in value]
    for message in reversed(chat):
        content = message["content"]
        if isinstance(content, str):
            if content:
                message["content"] = _shorten(tokenizer, content, excess)
                return chat
            continue
        for place in reversed(range(len(content))):
            if content[place].get("type") == "text" and content[place]["text"]:
                part = {**content[place], "text": _shorten(tokenizer, content[place]["text"], excess)}
                message["content"] = [*content[:place], part, *content[place + 1 :]]
                return chat
    return None


def _shorten(tokenizer: Any, text: str, excess: int) -> str:
    """Return the text without its last ``excess`` tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    kept = max(0, len(ids) - excess)
    if not kept:
        return ""
    if getattr(tokenizer, "is_fast", False):
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text[: offsets[kept - 1][1]]
    return text[: len(text) * kept // len(ids)]
