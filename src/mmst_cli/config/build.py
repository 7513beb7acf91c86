"""Plain values from YAML into the schema's dataclasses, with every fault on the way."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, asdict, fields, is_dataclass
from enum import StrEnum
from typing import Any

from omegaconf import MISSING

from mmst_cli.config.values import describe
from mmst_cli.errors import did_you_mean

BROKEN = object()
"""Stands where an interpolation had no value: its fault is already told."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def default_of(field: Field[Any]) -> Any:
    """Return a field's default as a plain value, or MISSING if it is required."""
    if field.default_factory is not NO_DEFAULT:
        made = field.default_factory()
        return asdict(made) if is_dataclass(made) and not isinstance(made, type) else made
    default = MISSING if field.default is NO_DEFAULT else field.default
    return default.value if isinstance(default, StrEnum) else default


def fill_defaults(value: Any, hint: Any) -> Any:
    """Return ``value`` with the defaults of every dataclass in it filled in; faults are left as they are.

    Interpolations are resolved afterwards, so that they can refer to what the file left out.
    """
    if isinstance(hint, types.UnionType) and value is not None:
        return fill_defaults(value, _without_none(hint))
    if is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        filled = dict(value)
        for field in fields(hint):
            default = default_of(field)
            given = filled.get(field.name, default)
            if given is None and isinstance(default, dict | list):
                given = default  # `evaluators:` with every entry commented out
            if given != MISSING:
                filled[field.name] = fill_defaults(given, hints[field.name])
        return filled
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is dict and isinstance(value, dict):
        return {key: fill_defaults(item, arguments[1]) for key, item in value.items()}
    if typing.get_origin(hint) is list and isinstance(value, list):
        return [fill_defaults(item, arguments[0]) for item in value]
    return value


def build(value: Any, hint: Any, key: str, faults: list[str]) -> Any:
    """Return ``value`` as the type ``hint``, adding one sentence to ``faults`` for each thing wrong in it."""
    if value is BROKEN:
        return None
    if isinstance(hint, types.UnionType):
        return None if value is None else build(value, _without_none(hint), key, faults)
    if is_dataclass(hint):
        return _build_dataclass(value, hint, key, faults)
    if typing.get_origin(hint) in (dict, list):
        return _build_container(value, hint, key, faults)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _build_enum(value, hint, key, faults)
    if hint is Any:
        if value == MISSING:
            faults.append(f"{key}: `???` stands for a value that is still missing. Give one.")
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        faults.append(_wrong_type(value, hint, key))
    return value


def _without_none(hint: types.UnionType) -> Any:
    return next(argument for argument in typing.get_args(hint) if argument is not type(None))


def _build_dataclass(value: Any, hint: Any, key: str, faults: list[str]) -> Any:
    if not isinstance(value, Mapping):
        known = ", ".join(field.name for field in fields(hint))
        faults.append(f"{key}: found {describe(value)}, but it takes a mapping with {known}.")
        return None
    hints = typing.get_type_hints(hint)
    for name in value:
        if name not in hints:
            suggestion = did_you_mean(str(name), hints) or f" Known here: {', '.join(hints)}."
            faults.append(f"{_join(key, name)}: unknown key.{suggestion}")
    unusable = len(faults)  # an unknown key is left out; what is wrong from here on leaves nothing to build
    built = {}
    for name, inner in hints.items():
        if value.get(name, MISSING) in (MISSING, None) and not _optional(inner):
            faults.append(f"{_join(key, name)}: missing. It takes {_words(inner)}.")
        else:
            built[name] = build(value[name], inner, _join(key, name), faults)
    return hint(**built) if len(faults) == unusable else None


def _build_container(value: Any, hint: Any, key: str, faults: list[str]) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if not isinstance(value, origin):
        faults.append(f"{key}: found {describe(value)}, but it takes {_words(hint)}.")
        return None
    if isinstance(value, dict):
        return {name: build(item, arguments[1], _join(key, name), faults) for name, item in value.items()}
    return [build(item, arguments[0], _join(key, index), faults) for index, item in enumerate(value)]


def _build_enum(value: Any, hint: type[StrEnum], key: str, faults: list[str]) -> Any:
    options = [member.value for member in hint]
    if value not in options:
        suggestion = did_you_mean(value, options) if isinstance(value, str) else ""
        faults.append(f"{key}: found {describe(value)}, but it takes one of {', '.join(options)}.{suggestion}")
        return None
    return hint(value)


def _wrong_type(value: Any, hint: type, key: str) -> str:
    advice = ""
    if hint is str and isinstance(value, bool | int | float):
        advice = " Put it in quotes to make it text."
    return f"{key}: found {describe(value)}, but it takes {_WORDS[hint]}.{advice}"


def _words(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"one of {', '.join(member.value for member in hint)}"
    if typing.get_origin(hint) is list:
        return "a list"
    return _WORDS.get(hint, "a mapping")


def _optional(hint: Any) -> bool:
    return hint is Any or (isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint))


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
