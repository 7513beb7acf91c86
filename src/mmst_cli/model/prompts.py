"""The prompts of a config in the model: for encode_query and encode_document, and saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmst_cli.config.schema import Role
from mmst_cli.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NAMES = {Role.anchor: "query", Role.positive: "document", Role.negative: "document"}
"""Role to the name of its prompt in sentence-transformers."""


def set_prompts(model: SentenceTransformer, prompts: Mapping[str, str]) -> None:
    """Give the model the prompts of a config: what ``encode_query`` and ``encode_document`` use from now on.

    Where a model takes messages, sentence-transformers hands a prompt over as a system message; elsewhere it
    stands before the text.

    Args:
        model: the model; changed in place.
        prompts: role (anchor, positive, negative) to prompt.

    Raises:
        ConfigError: a role that has no prompt, or positives and negatives with different ones.
    """
    named: dict[str, str] = {}
    for role, prompt in prompts.items():
        if role not in {str(known) for known in NAMES}:
            raise ConfigError(f"prompts.{role}: prompts are for {', '.join(NAMES)}. Name one of these.")
        name = NAMES[Role(role)]
        if named.setdefault(name, prompt) != prompt:
            raise ConfigError(
                f"prompts.{role}: found {prompt!r}, and another role of documents has {named[name]!r}. Positives and"
                " negatives are documents alike when the model is used, so give them the same prompt."
            )
    model.prompts.update(named)
