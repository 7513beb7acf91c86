"""`mmst schema KEY`: a key of a config explained."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from mmst_cli.config.keys import ANY, Key, find_key, keys_below
from mmst_cli.config.library_help import first_sentence

_NAMED = 3  # classes that are named of those that have an argument


def explanation(wanted: str) -> Iterator[RenderableType]:
    """Yield what a person sees of a key: what it means, what it takes, its default, and the keys below it.

    Raises:
        ConfigError: there is no such key.
    """
    found = find_key(wanted)
    for key in found:
        yield f"{wanted}{_owners(key)}"
        yield from _facts(key)
    below = keys_below(found[0].key)
    if ANY in [key.name for key in below]:
        below = [one for key in below for one in ([key] if key.name != ANY else keys_below(key.key) or [key])]
    if below:
        yield _table(below, found[0].key)


def _owners(key: Key) -> str:
    if not key.of:
        return ""
    more = f" and {len(key.of) - _NAMED} more" if len(key.of) > _NAMED else ""
    return f" of {', '.join(key.of[:_NAMED])}{more}"


def _facts(key: Key) -> Iterator[str]:
    if key.description:
        yield f"  {key.description}"
    yield f"  takes: {key.takes}"
    if "default" in key.schema or key.required:
        yield f"  default: {key.default}"
    for kind in key.schema.get("anyOf", ()):
        if "const" in kind and kind.get("description"):
            yield f"    {kind['const']}: {kind['description']}"


def _table(keys: list[Key], above: str) -> Table:
    table = Table.grid(padding=(0, 2))
    seen = set()
    for key in keys:
        name = key.key.removeprefix(f"{above}.")
        if name not in seen:
            table.add_row(
                f"  {name}", key.takes + (", needed" if key.required else ""), first_sentence(key.description)
            )
        seen.add(name)
    return table
