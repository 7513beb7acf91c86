"""How token vectors become one, and whether it has length 1: given to a raw checkpoint, checked on a finished model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Pooling
from mmst_cli.errors import ModelError

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
