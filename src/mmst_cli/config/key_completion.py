"""What a shell offers for the beginning of a key, or of a KEY=VALUE, one level of keys at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmst_cli.config.argument_schema import Schema
from mmst_cli.config.json_schema import resolved
from mmst_cli.config.keys import ANY, Key, all_keys
from mmst_cli.config.library_help import first_sentence
from mmst_cli.config.load import as_yaml, read_tree
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError

Offers = dict[str, str]
"""What is offered, and a line about each."""


def offered_keys(beginning: str) -> Offers:
    """Return what continues a key as `mmst schema KEY` takes it."""
    keys = {name: first_sentence(ways[0].description) for name, ways in _named_keys()}
    found = _next_level(beginning, keys)
    # A section is a key itself, and the way to those in it.
    return {name: said for end, said in found.items() for name in ([end[:-1], end] if end.endswith(".") else [end])}


def offered_overrides(beginning: str, config: Path) -> Offers:
    """Return what continues a KEY=VALUE: keys, by the names that the config has, then values.

    Args:
        beginning: what is typed.
        config: the file; where it can't be read, keys below names of the user's choice are not known.
    """
    try:
        tree = read_tree(config)
    except ConfigError:
        tree = {}
    keys = _keys_in(tree)
    name, equals, _ = beginning.partition("=")
    if equals:
        return {text: "" for text in _with_values(name, keys) if text.startswith(beginning)}
    found = _next_level(name, {name: first_sentence(key.description) for name, key in keys.items()})
    offers = {end if end.endswith(".") else f"{end}=": said for end, said in found.items()}
    if len(offers) == 1 and (only := next(iter(offers))).endswith("="):
        # With more than one to choose from a shell puts no space behind what they have in common.
        return offers | dict.fromkeys(_with_values(only[:-1], keys), offers[only])
    return offers


def offered_values(name: str, beginning: str, config: Path) -> Offers:
    """Return what continues the value of a key, where a shell takes `=` for the end of a word."""
    offers = offered_overrides(f"{name}={beginning}", config)
    return {text.partition("=")[2]: said for text, said in offers.items()}


def _named_keys() -> Iterator[tuple[str, list[Key]]]:
    """Yield the keys but for single entries of lists and mappings, which are keys as well."""
    return ((name, ways) for name, ways in all_keys().items() if not name.endswith(f".{ANY}"))


def _next_level(beginning: str, keys: Mapping[str, str]) -> Offers:
    """Return the keys that begin so up to their next dot; where only a section does, those in it."""
    depth = beginning.count(".") + 1
    found: Offers = {}
    for name, said in keys.items():
        if name.startswith(beginning):
            parts = name.split(".")
            found.setdefault(".".join(parts[:depth]) + ("." if len(parts) > depth else ""), said)
    found = {name: found.get(name[:-1], said) for name, said in found.items() if f"{name}." not in found}
    if len(found) == 1 and (only := next(iter(found))).endswith("."):
        return _next_level(only, keys)
    return found


def _keys_in(tree: Mapping[str, Any]) -> dict[str, Key]:
    """Return the keys that a config has or may have, by the names in it."""
    found: dict[str, Key] = {}
    for name, ways in _named_keys():
        first, *rest = name.split(".")
        if first in Config.model_fields:
            for way in ways:
                found |= dict.fromkeys(_named([first, *rest], tree, way), way)
    return found


def _named(parts: list[str], node: Any, way: Key, above: str = "") -> Iterator[str]:
    """Yield the names of a key with what a config has in the places of ANY."""
    if not parts:
        yield above[1:]
        return
    first, *rest = parts
    if way.of and first == "args" and rest and not (isinstance(node, dict) and node.get("type") in way.of):
        return
    names = [first] if first != ANY else list(node) if isinstance(node, dict) else _numbers(node)
    for name in names:
        inside = node[int(name)] if isinstance(node, list) else node.get(name) if isinstance(node, dict) else None
        yield from _named(rest, inside, way, f"{above}.{name}")


def _numbers(node: Any) -> list[str]:
    return [str(number) for number in range(len(node))] if isinstance(node, list) else []


def _with_values(name: str, keys: Mapping[str, Key]) -> list[str]:
    key = keys.get(name)
    if key is None:
        return []
    values = _values(key.schema)
    if (default := key.schema.get("default")) not in (None, {}, []) and default not in values:
        values.append(default)
    return [f"{name}={as_yaml(value)}" for value in values]


def _values(schema: Schema) -> list[Any]:
    """Return the values of a key that takes one of a few."""
    schema = resolved(schema)
    if schema.get("type") == "boolean":
        return [True, False]
    if "const" in schema:
        return [schema["const"]]
    listed = [value for value in schema.get("enum") or schema.get("examples") or () if value is not None]
    return listed + [value for kind in schema.get("anyOf", ()) for value in _values(kind)]
