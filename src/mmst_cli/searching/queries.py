"""What `mmst search` looks for: texts, media and vectors, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError, excerpt
from mmst_cli.html.previews import EXCERPT, Preview, Value, preview
from mmst_cli.inputs.given_inputs import SHOWN, GivenWords, find_given, read_given
from mmst_cli.inputs.items import Item
from mmst_cli.media.reading import Reader
from mmst_cli.terminal import Terminal

_WORDS = GivenWords(
    argument="QUERY",
    use="looked for",
    by_stdin="mmst search VECTORS -",
    of_tables="Embed its rows by `mmst encode`, and name the folder by --vectors.",
)


@dataclass(frozen=True)
class Query:
    """One thing that is looked for."""

    name: str
    """The text itself, or what names a file, a page or a vector."""
    item: Item | None
    """What is embedded; None where a vector was given."""

    @property
    def label(self) -> str:
        """The query on one short line."""
        return excerpt(self.name, SHOWN)

    def look(self) -> Preview:
        """Return what is shown of it."""
        return look(self.item) if self.item else Preview(text=excerpt(self.name, EXCERPT))


def find_queries(given: Sequence[str], reader: Reader, terminal: Terminal) -> list[Query]:
    """Return what is to be embedded, in the order of the command line; see :func:`find_given`.

    Raises:
        DataError: there is nothing, or what is given isn't there or can't be embedded.
    """
    found = [Query(name, item) for name, item in find_given(given, reader, terminal, _WORDS)]
    if not found:
        raise DataError(f"QUERY: nothing to look for in {', '.join(given)}.")
    return found


def read_query(item: Item) -> Any:
    """Return what is embedded.

    Raises:
        DataError: it can't be read.
    """
    return read_given(item, _WORDS.argument)


def look(item: Item) -> Preview:
    """Return what is shown of an input; why not, where it can't be read."""

    def read() -> Value:
        value = item.read()
        kind = item.modalities[0] if len(item.modalities) == 1 else Modality.mixed
        # Texts, sounds and clips come under the name of what they are.
        return kind, value[kind] if isinstance(value, dict) and set(value) == {kind} else value

    return preview(read)
