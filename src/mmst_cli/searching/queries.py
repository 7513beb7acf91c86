"""What the command line asks for: texts, files of media, pages of documents, and lines of stdin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError, MmstError, visible
from mmst_cli.html.previews import Preview, Value, preview
from mmst_cli.html.previews import shorten as excerpt
from mmst_cli.inputs.collection import LINES, MODALITY_OF, STDIN, open_sources
from mmst_cli.inputs.items import Item, page_items
from mmst_cli.inputs.media_options import in_options
from mmst_cli.media.input_errors import concerns_input, explain
from mmst_cli.media.pdf import split_page
from mmst_cli.media.reading import Reader
from mmst_cli.rows.columns import as_input
from mmst_cli.sources.places import READERS, is_pattern, local_path, row_ending
from mmst_cli.terminal import Terminal

KNOWN = (*MODALITY_OF, LINES)
PATHS = ("/", "./", "../", "~/", "file://")  # what a path begins with, and a text hardly ever does
SHOWN = 60  # characters of a query in a message


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
        return look(self.item) if self.item else Preview(text=excerpt(self.name))


def find_queries(given: Sequence[str], reader: Reader, terminal: Terminal) -> list[Query]:
    """Return what is to be embedded, in the order of the command line; of files, nothing but a `.txt` is read yet.

    Args:
        given: texts, files, folders that are written with a slash, or `-` for the lines of stdin.
        reader: how media are read.
        terminal: where to say what a query could be taken for.

    Raises:
        DataError: a file that isn't there or of no kind that is embedded, or a text of no words.
    """
    found = [query for text in given for query in _find(text, reader, terminal)]
    if not found:
        raise DataError(f"QUERY: nothing to look for in {', '.join(given)}.")
    return found


def _find(text: str, reader: Reader, terminal: Terminal) -> Iterator[Query]:
    path, page = split_page(local_path(text))
    is_file, is_one_word = _is(path.is_file), len(text.split()) == 1
    is_table, is_media = row_ending(text) in READERS, path.suffix.lower() in KNOWN
    is_spelt_as_path = is_one_word and text.startswith(PATHS)
    if text == STDIN or (is_file and path.suffix.lower() == LINES):
        return _lines(text, reader)
    if is_file and is_table:
        raise DataError(
            f"QUERY: {visible(text)}: a table. Embed its rows by `mmst encode`, and name the folder by --vectors."
        )
    if is_file and page is not None:
        return map(_as_query, page_items(text.rpartition("#")[0], path, [page], reader))
    if (is_file and (is_media or is_spelt_as_path)) or ("/" in text and _is(path.is_dir)):
        return _media(text, reader)
    if not text.strip():
        raise DataError("QUERY: an empty text. Write what to look for.")
    if is_one_word and is_media and is_pattern(text):
        return _media(text, reader)
    if is_spelt_as_path or ((is_one_word or "/" in text) and (is_media or is_table)):
        raise DataError(
            f"QUERY: {visible(text)}: no such file. If it is meant as a text, give it as a line of stdin:"
            " echo TEXT | mmst search VECTORS -"
        )
    if is_media or is_table:
        terminal.warn(f'QUERY: there is no file "{excerpt(text, SHOWN)}"; it is looked for as a text.')
    elif _is(path.exists):
        terminal.say(f'QUERY: "{text}" is looked for as a text; for what is in it, write ./{text}.')
    return iter([_text(text, text)])


def _media(name: str, reader: Reader) -> Iterator[Query]:
    (source,) = open_sources([name], reader=reader)
    return map(_as_query, source.items())


def _lines(name: str, reader: Reader) -> Iterator[Query]:
    (source,) = open_sources([name], reader=reader)
    for item in source.items():
        yield _text(read_query(item)["text"], item.id)


def _as_query(item: Item) -> Query:
    return Query(item.id, item)


def _text(text: str, item_id: str) -> Query:
    kind = Modality.text
    return Query(text, Item(item_id, (kind,), partial(as_input, text, kind), partial(bytes, text, "utf-8")))


def read_query(item: Item) -> Any:
    """Return what is embedded.

    Raises:
        DataError: it can't be read.
    """
    try:
        return item.read()
    except Exception as error:  # a decoder raises whatever it likes
        if not concerns_input(error):
            raise
        said = str(error) if isinstance(error, MmstError) else explain(error)
        raise DataError(f"QUERY: {visible(item.id)}: {in_options(' '.join(said.split()))}") from error


def look(item: Item) -> Preview:
    """Return what is shown of an input; why not, where it can't be read."""

    def read() -> Value:
        value = item.read()
        kind = item.modalities[0] if len(item.modalities) == 1 else Modality.mixed
        # Texts, sounds and clips come under the name of what they are.
        return kind, value[kind] if isinstance(value, dict) and set(value) == {kind} else value

    return preview(read)


def _is(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except OSError:  # a name that none can have, as most texts are
        return False
