"""Commands in messages, as they can be copied into a shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path


def quoted(word: object) -> str:
    """Return a word as a shell takes it, line breaks and bytes that are no text included."""
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    pieces = (
        f"\\{character}" if character in "'\\" else character if character.isprintable() else _escaped(character)
        for character in text
    )
    return f"$'{''.join(pieces)}'"


def program() -> str:
    """Return what the running command was called by; `mmst` where it was run as a module, as launchers do."""
    name = Path(sys.argv[0]).name
    return "mmst" if name == "__main__.py" else name


def joined(words: Iterable[object]) -> str:
    """Return the words of a command on one line."""
    return " ".join(map(quoted, words))


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))
