"""What a config changes in a loaded model: how it pools and normalises, and what training leaves as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Pooling
from mmst_cli.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def pooling_of(modules: Iterable[Any]) -> str | None:
    """Return how an encoder pools, given its modules, as `mean` or `cls+mean`; None where nothing is pooled."""
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    mode = next((module.pooling_mode for module in modules if isinstance(module, PoolingModule)), None)
    return mode if mode is None or isinstance(mode, str) else "+".join(mode)


def set_pooling(model: SentenceTransformer, pooling: Pooling, *, raw: bool, key: str) -> None:
    """Pool as the config says.

    A model that takes messages and pools the last token gets the generation prompt behind its input, as the
    embedding models of Qwen3-VL are made: the last token is then the same for every input.

    Args:
        model: one encoder, as it was loaded.
        pooling: how to pool.
        raw: whether it was a checkpoint without sentence-transformers' modules; only such a one is changed.
        key: dotted key of the section that declares it.

    Raises:
        ModelError: the model is finished and pools otherwise, or has nothing to pool.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    found = pooling_of(model)
    if found is None:
        raise ModelError(
            f"{key}.pooling: {pooling}: {_architecture(model)} gives one vector for an input, so that there is"
            " nothing to pool. Leave it out."
        )
    if not raw:
        if found != pooling:
            raise ModelError(
                f"{key}.pooling: {pooling}: this is a finished embedding model, made with {found} pooling."
                " Leave pooling out, or name the raw checkpoint that it was made from."
            )
        return
    model[1] = PoolingModule(model[0].get_embedding_dimension(), pooling_mode=str(pooling))
    if pooling is Pooling.lasttoken and "message" in model[0].modalities:
        kwargs = model[0].processing_kwargs
        kwargs["chat_template"] = {"add_generation_prompt": True, **kwargs.get("chat_template", {})}


def set_normalisation(model: SentenceTransformer, normalise: bool) -> None:
    """Let the model's last step make vectors of length 1, or leave them as they are."""
    from sentence_transformers.sentence_transformer.modules import Normalize

    ends_with_it = isinstance(model[-1], Normalize)
    if normalise and not ends_with_it:
        model.append(Normalize())
    elif ends_with_it and not normalise:
        del model[-1]


def _architecture(model: SentenceTransformer) -> str:
    return type(getattr(model[0], "model", model[0])).__name__


def freeze(model: SentenceTransformer, patterns: Sequence[str]) -> tuple[int, int]:
    """Keep the parameters from being trained whose names match any of ``patterns``.

    Only their values stay: dropout in a frozen part still drops, and BatchNorm still normalises by the batch and
    moves its running statistics while training.

    Args:
        model: the model; changed in place.
        patterns: regular expressions, searched in names such as ``0.model.visual.patch_embed.proj.weight``.

    Returns:
        How many values are frozen, and how many there are.

    Raises:
        ModelError: a pattern matches no parameter, or nothing is left to train.
    """
    named = dict(model.named_parameters())
    for index, pattern in enumerate(patterns):
        matched = [name for name in named if re.search(pattern, name)]
        if not matched:
            raise ModelError(f"model.frozen.{index}: {pattern}: no parameter matches.{_hint(pattern, list(named))}")
        for name in matched:
            named[name].requires_grad_(False)
    frozen = sum(parameter.numel() for parameter in named.values() if not parameter.requires_grad)
    if patterns and all(not parameter.requires_grad for parameter in named.values()):
        raise ModelError(f"model.frozen: {', '.join(patterns)}: this leaves nothing to train. Freeze less.")
    return frozen, sum(parameter.numel() for parameter in named.values())


def _hint(pattern: str, names: list[str]) -> str:
    some = names[:: max(1, len(names) // 3)][:3]
    pieces = dict.fromkeys(piece for name in names for piece in name.split("."))
    return f"{did_you_mean(pattern, pieces)} Names are such as {', '.join(some)}."
