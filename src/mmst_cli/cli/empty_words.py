"""Words of the command line with nothing in them, as a variable of a shell leaves them that isn't set."""

from __future__ import annotations

from collections.abc import Sequence

from mmst_cli.errors import ConfigError


def refuse_empty_words(words: Sequence[str]) -> None:
    """Refuse a command line with a word that is empty: taken for the folder one is in, or for one that is left out.

    Args:
        words: those behind the name of the program.

    Raises:
        ConfigError: one is empty; the message names the option that it belongs to, or its place.
    """
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word.startswith("--") and word.find("=") == len(word) - 1:
            what = word[:-1]
        elif not word:
            what = before if before.startswith("-") and "=" not in before else f"argument {place}"
        else:
            continue
        raise ConfigError(
            f"{what}: it is empty, as a variable of the shell is that isn't set. Write it, or leave it out."
        )
