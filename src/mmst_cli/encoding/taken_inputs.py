"""Reading items, in whatever process, as far as the model takes what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Modality
from mmst_cli.encoding.shards import content_bytes
from mmst_cli.errors import DataError
from mmst_cli.inputs.items import Item, Modalities
from mmst_cli.model.model_parts import taken_by, takes
from mmst_cli.model.preprocessor import Preprocessor
from mmst_cli.vectors.prepared_batches import kind_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class TakenInputs:
    """Reads items of the kinds that a model takes. It can be pickled, without the model's weights.

    Args:
        model: the model.
    """

    def __init__(self, model: SentenceTransformer) -> None:
        self._of = Preprocessor(model)
        self._known: dict[Modalities, bool] = {}

    @property
    def taken(self) -> str:
        """What the model takes, for messages."""
        return taken_by(self._of.model)

    def takes(self, kind: Modalities) -> bool:
        """Say whether the model takes inputs of a kind; of those in mixed columns only reading tells."""
        if (found := self._known.get(kind)) is None:
            wanted = tuple(map(str, kind))
            found = wanted == (Modality.mixed,) or takes(self._of.model, wanted if len(wanted) > 1 else wanted[0])
            self._known[kind] = found
        return found

    def __call__(self, item: Item) -> tuple[Any, bytes]:
        """Return the input, read, and what tells its content apart; nothing is read that the model doesn't take.

        Raises:
            DataError: it doesn't.
        """
        self._check(item.modalities)
        value = item.read()
        held = _held(value)
        if held != item.modalities:
            self._check(held)
        if held == (Modality.message,):
            for part in _parts_of(value):
                self._check((Modality.message, part), part)
        return value, content_bytes(item)

    def _check(self, found: Modalities, part: Modality | None = None) -> None:
        if not self.takes(found if part is None else (part,)):
            raise DataError(f"{' with '.join(found)}, but the model takes {self.taken}")


def _held(value: Any) -> Modalities:
    kind = kind_of(value)
    return tuple(Modality(part) for part in ((kind,) if isinstance(kind, str) else kind))


def _parts_of(chat: list[dict[str, Any]]) -> list[Modality]:
    contents = [message["content"] for message in chat if not isinstance(message["content"], str)]
    return list(dict.fromkeys(Modality(part["type"]) for content in contents for part in content))
