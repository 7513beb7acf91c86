"""What configs of models note beside what the models compute: it may differ between models that are merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_NOTES = (
    *("bos_token_id", "eos_token_id", "pad_token_id"),  # the trainer copies them from the tokenizer
    *("is_matryoshka", "matryoshka_dimensions"),  # for servers
)


@contextmanager
def told_alike(models: Sequence[SentenceTransformer]) -> Iterator[None]:
    """Let the configs of all models note what that of the first does, for as long as the context lasts.

    Training and saving write into a config what the model's own hasn't got, and sentence-transformers merges no models
    whose configs differ: neither a trained one with the one that it was trained from, nor runs of other dimensions.
    """
    from transformers import PreTrainedModel

    first, own = dict(models[0].named_modules()), []
    for model in models[1:]:
        for name, module in model.named_modules():
            if isinstance(module, PreTrainedModel) and isinstance(first.get(name), PreTrainedModel):
                own.append((module, module.config))
                module.config = deepcopy(module.config)
                _note_as(module.config, first[name].config)
    try:
        yield
    finally:
        for module, config in own:
            module.config = config


def _note_as(config: Any, other: Any) -> None:
    """Note in a config, and in those inside of it, what another one notes."""
    own, noted = vars(config), vars(other)
    for name in _NOTES:
        own.pop(name, None)
        if name in noted:
            own[name] = noted[name]
    for name in own.keys() & noted.keys():
        if hasattr(own[name], "to_dict") and hasattr(noted[name], "to_dict"):
            _note_as(own[name], noted[name])
