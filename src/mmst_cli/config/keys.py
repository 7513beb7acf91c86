"""The keys of configs, those of losses, evaluators and the trainer included: all, one, and those that are near."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from mmst_cli.config.argument_schema import Schema
from mmst_cli.config.json_schema import REFERENCE, config_schema, resolved, types_of
from mmst_cli.config.load import as_yaml
from mmst_cli.config.schema_words import in_words
from mmst_cli.errors import ConfigError

ANY = "*"
"""Stands in a key for a name of the user's choice, or for a number of a list."""
_NEAR = 5  # keys that are suggested
_Child = tuple[str, Schema, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Key:
    """A key of a config, or one way in which classes have an argument."""

    key: str
    """With ANY for names of the user's choice and numbers of lists."""
    schema: Schema
    required: bool = False
    of: tuple[str, ...] = ()
    """For arguments of losses and evaluators: the classes that have it so."""

    @property
    def name(self) -> str:
        """Its last part."""
        return self.key.rpartition(".")[2]

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        return in_words(self.schema)

    @property
    def description(self) -> str:
        """What it means."""
        return str(self.schema.get("description", ""))

    @property
    def default(self) -> str:
        """What it is if it is left out, as YAML."""
        if self.required:
            return "none; it has to be given"
        return "nothing" if self.schema.get("default") is None else as_yaml(self.schema["default"])


@cache
def all_keys() -> dict[str, list[Key]]:
    """Return the keys that there are, those of losses and evaluators also under the name of their class.

    An argument that classes have in different ways stands there once for each way.
    """
    found: dict[str, list[Key]] = {}
    for key in [*_below("", config_schema()), *_classes()]:
        found.setdefault(key.key, []).append(key)
    return found


def find_key(wanted: str) -> list[Key]:
    """Return a key, each way in which classes have it, by its name with ANY or with names and numbers in its place.

    Raises:
        ConfigError: there is none; the message names those that are near.
    """
    keys = all_keys()
    found = wanted if wanted in keys else next((key for key in keys if _matches(wanted, key)), None)
    if found is not None:
        return keys[found]
    near = _near(wanted, list(keys))
    suggestion = f"Did you mean {' or '.join(near)}?" if near else "`mmst schema` prints all there are."
    raise ConfigError(f"mmst schema {wanted}: there is no such key. {suggestion}")


def keys_below(key: str) -> list[Key]:
    """Return the keys right below one, in the order of the schema."""
    depth = key.count(".") + 1
    names = [name for name in all_keys() if name.startswith(f"{key}.") and name.count(".") == depth]
    return [one for name in names for one in all_keys()[name]]


def _below(above: str, schema: Schema, owners: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield the keys below a schema, each before those below it; ``owners`` are the classes that have it."""
    for name, child, required, of in _children(schema):
        key = Key(f"{above}.{name}" if above else name, child, required, of or owners)
        yield key
        yield from _below(key.key, child, key.of)


def _children(schema: Schema) -> Iterator[_Child]:
    schema = resolved(schema)
    for kind in [resolved(kind) for kind in schema.get("anyOf", [schema])]:
        for name, child in kind.get("properties", {}).items():
            yield name, child, name in kind.get("required", ()), ()
            if name == "args":
                yield from _arguments(kind)
        for inside in ("additionalProperties", "items"):
            if isinstance(kind.get(inside), dict):
                yield ANY, kind[inside], False, ()


def _arguments(section: Schema) -> Iterator[_Child]:
    """Yield the arguments of all types of a section, each way in which classes have one once, with these."""
    ways: dict[str, tuple[str, Schema, bool, list[str]]] = {}
    for type_name in types_of(section):
        arguments = config_schema()["$defs"][type_name]
        for name, child in arguments["properties"].items():
            required = name in arguments.get("required", ())
            ways.setdefault(repr((name, child, required)), (f"args.{name}", child, required, []))[3].append(type_name)
    for name, child, required, of in ways.values():
        yield name, child, required, tuple(of)


def _classes() -> Iterator[Key]:
    for section in ("LossConfig", "EvaluatorConfig"):
        for name in types_of(resolved({"$ref": REFERENCE + section})):
            schema = resolved({"$ref": REFERENCE + name})
            yield Key(name, schema)
            yield from _below(name, schema)


def _matches(wanted: str, key: str) -> bool:
    parts, pattern = wanted.split("."), key.split(".")
    return len(parts) == len(pattern) and all(p in (ANY, part) for part, p in zip(parts, pattern, strict=True))


def _near(wanted: str, keys: list[str]) -> list[str]:
    """Return the keys that are spelled nearly so, or whose last part is, the nearest first."""
    whole = difflib.get_close_matches(wanted, keys, n=_NEAR, cutoff=0.8)
    ends = {key.rpartition(".")[2] for key in keys}
    close = difflib.get_close_matches(wanted.rpartition(".")[2], ends, n=2, cutoff=0.75)
    same_end = [key for end in close for key in sorted(keys, key=len) if key.rpartition(".")[2] == end]
    return list(dict.fromkeys([*whole, *same_end]))[:_NEAR]
