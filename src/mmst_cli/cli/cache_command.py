"""`mmst cache`: its arguments."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from mmst_cli.cli.app import Json, print_json, told_in_one_line


class Action(StrEnum):
    """What is done with the cache."""

    list = "list"
    clear = "clear"


def cache(
    action: Annotated[Action, typer.Argument(help="list what it holds, with sizes; clear removes a kind of it.")] = (
        Action.list
    ),
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="For clear: prepared, media, mined, generated or all.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Show or clear what is kept to be used again. Prepared images, fetched media, mined negatives, built-in data.

    It is in $MMST_CACHE, or else in the user's cache folder.

    Example: mmst cache clear prepared
    """
    with told_in_one_line():
        from mmst_cli.cached import cache_table, clear, held
        from mmst_cli.errors import ConfigError
        from mmst_cli.storage import cache_folder
        from mmst_cli.terminal import Terminal

        if (kind is None) == (action is Action.clear):
            raise ConfigError(
                "mmst cache clear: name what to remove, such as prepared, or all."
                if action is Action.clear
                else f"mmst cache list: it takes no kind, found {kind}."
            )
        found = held() if kind is None else clear(kind)
        if json_output:
            print_json({"folder": str(cache_folder()), action.value: [asdict(one) for one in found]})
            return
        terminal = Terminal()
        terminal.show(cache_table(found))
        if kind is not None:
            terminal.say(f"removed from {cache_folder()}: {sum(one.files for one in found):,} files")
