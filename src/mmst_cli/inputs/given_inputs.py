"""What a command line gives one by one: texts, files of media, pages of documents, and lines of stdin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError, MmstError, excerpt, visible
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
SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True)
class GivenWords:
    """How a command speaks of what it is given."""

    argument: str
    """Its name, such as QUERY."""
    use: str
    """What becomes of it, such as "looked for"."""
    by_stdin: str
    """The command that takes texts from stdin, such as `mmst search VECTORS -`."""
    of_tables: str
    """What to do with the rows of a table."""


def find_given(
    given: Sequence[str], reader: Reader, terminal: Terminal, words: GivenWords
) -> Iterator[tuple[str, Item]]:
    """Yield the name of each input and the input, in their order; of files, nothing but a `.txt` is read yet.

    The name is the text itself, or names a file or a page.

    Args:
        given: texts, files, folders that are written with a slash, or `-` for the lines of stdin.
        reader: how media are read.
        terminal: where to say what an input could be taken for.
        words: for messages.

    Raises:
        DataError: a file that isn't there or of no kind that is embedded, or a text of no words.
    """
    for text in given:
        yield from _find(text, reader, terminal, words)


def _find(text: str, reader: Reader, terminal: Terminal, words: GivenWords) -> Iterator[tuple[str, Item]]:
    path, page = split_page(local_path(text))
    name = words.argument
    is_file, is_one_word = _is(path.is_file), len(text.split()) == 1
    is_table, is_media = row_ending(text) in READERS, path.suffix.lower() in KNOWN
    is_spelt_as_path = is_one_word and text.startswith(PATHS)
    if text == STDIN or (is_file and path.suffix.lower() == LINES):
        return _lines(text, reader, words)
    if is_file and is_table:
        raise DataError(f"{name}: {visible(text)}: a table. {words.of_tables}")
    if is_file and page is not None:
        return map(_named, page_items(text.rpartition("#")[0], path, [page], reader))
    if (is_file and (is_media or is_spelt_as_path)) or ("/" in text and _is(path.is_dir)):
        return _media(text, reader)
    if not text.strip():
        raise DataError(f"{name}: an empty text. Write what is to be {words.use}.")
    if is_one_word and is_media and is_pattern(text):
        return _media(text, reader)
    if is_spelt_as_path or ((is_one_word or "/" in text) and (is_media or is_table)):
        raise DataError(
            f"{name}: {visible(text)}: no such file. If it is meant as a text, give it as a line of stdin:"
            f" echo TEXT | {words.by_stdin}"
        )
    if is_media or is_table:
        terminal.warn(f'{name}: there is no file "{excerpt(text, SHOWN)}"; it is {words.use} as a text.')
    elif _is(path.exists):
        terminal.say(f'{name}: "{text}" is {words.use} as a text; for what is in it, write ./{text}.')
    return iter([_text(text, text)])


def _media(name: str, reader: Reader) -> Iterator[tuple[str, Item]]:
    (source,) = open_sources([name], reader=reader)
    return map(_named, source.items())


def _lines(name: str, reader: Reader, words: GivenWords) -> Iterator[tuple[str, Item]]:
    (source,) = open_sources([name], reader=reader)
    for item in source.items():
        yield _text(read_given(item, words.argument)["text"], item.id)


def _named(item: Item) -> tuple[str, Item]:
    return item.id, item


def _text(text: str, item_id: str) -> tuple[str, Item]:
    kind = Modality.text
    return text, Item(item_id, (kind,), partial(as_input, text, kind), partial(bytes, text, "utf-8"))


def read_given(item: Item, argument: str) -> Any:
    """Return a model input.

    Args:
        item: the input.
        argument: what the command calls it.

    Raises:
        DataError: it can't be read.
    """
    try:
        return item.read()
    except Exception as error:  # a decoder raises whatever it likes
        if not concerns_input(error):
            raise
        said = str(error) if isinstance(error, MmstError) else explain(error)
        raise DataError(f"{argument}: {visible(item.id)}: {in_options(' '.join(said.split()))}") from error


def _is(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except OSError:  # a name that none can have, as most texts are
        return False
