"""Plain values from YAML into the schema's models, and what pydantic finds wrong with them in sentences by key."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ValidationError

from mmst_cli.config.arguments import describe
from mmst_cli.config.schema import Config, Section
from mmst_cli.config.signatures import TRAINER_FIELDS_ELSEWHERE, training_fields
from mmst_cli.errors import did_you_mean

Keys = tuple[str | int, ...]
"""Where a value stands in a file: names of mappings and positions in lists, from the top."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def dotted(keys: Iterable[str | int]) -> str:
    """Return ``keys`` as a message has them."""
    return ".".join(map(str, keys))


def fill_defaults(value: Any, hint: Any) -> Any:
    """Return ``value`` with the defaults of every section in it filled in; faults are left as they are.

    Interpolations are resolved afterwards, so that they can refer to what the file left out.
    """
    hint = _without_none(hint)
    if _is_section(hint) and isinstance(value, dict):
        filled = dict(value)
        for name, field in hint.model_fields.items():
            default = None if field.is_required() else _plain(field.get_default(call_default_factory=True))
            if filled.get(name) is None and (isinstance(default, dict | list) or name not in filled):
                if field.is_required():
                    continue
                filled[name] = default  # also for `evaluators:` with every entry commented out
            filled[name] = fill_defaults(filled[name], field.annotation)
        return filled
    if typing.get_origin(hint) is dict and isinstance(value, dict):
        return {str(name): fill_defaults(item, _inside(hint)) for name, item in value.items()}
    if typing.get_origin(hint) is list and isinstance(value, list):
        return [fill_defaults(item, _inside(hint)) for item in value]
    return value


def validate(tree: Any, told: Collection[Keys], unset: Collection[Keys]) -> tuple[Config | None, list[str]]:
    """Return ``tree`` as a config, and one sentence for each thing wrong in it.

    Where that is no more than unknown keys there is a config all the same.

    Args:
        tree: plain mappings, lists and values.
        told: where entries are left out or None whose faults are already told.
        unset: where entries are `???`, which stands for a value still missing.
    """
    config, faults, wrong = None, [], set()
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        errors = sorted(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        wrong = {one["loc"] for one in errors}
        faults = [_sentence(e["loc"], e["type"], e["input"], unset) for e in errors if e["loc"] not in told]
        if all(one["type"] == "extra_forbidden" for one in errors):
            config = Config.model_validate(tree, extra="ignore")
    forgotten = [_sentence(keys, "unset", None, unset) for keys in unset if keys not in wrong]
    return None if forgotten else config, [*faults, *forgotten]


def section_faults(kind: type[Section], tree: Any, key: str) -> list[str]:
    """Return one sentence for each thing that keeps ``tree`` from being a section of this kind.

    Args:
        kind: the section.
        tree: plain mappings, lists and values.
        key: dotted key at which it stands.
    """
    if not isinstance(tree, dict):
        return [f"{key}: found {describe(tree)}, but it takes a mapping with {', '.join(kind.model_fields)}."]
    try:
        kind.model_validate(tree)
    except ValidationError as error:
        return [
            f"{key}.{_sentence(e['loc'], e['type'], e['input'], (), kind)}" for e in error.errors(include_url=False)
        ]
    return []


def _sentence(keys: Keys, kind: str, value: Any, unset: Collection[Keys], root: type[Section] = Config) -> str:
    """Say what is wrong with ``value``, found at ``keys`` of ``root``; ``kind`` is pydantic's name of the fault."""
    key, section = dotted(keys), _without_none(_type_at(keys[:-1], root))
    if kind == "extra_forbidden":
        known = list(section.model_fields)
        meant = _of_training(key) or did_you_mean(str(keys[-1]), known) or f" Known here: {', '.join(known)}."
        return f"{key}: unknown key.{meant}"
    wanted = _type_at(keys, root)
    if _is_section(section) and not _optional(wanted) and (value is None or keys in unset or kind == "missing"):
        return f"{key}: missing. It takes {_words(wanted)}."
    if keys in unset:
        return f"{key}: `???` stands for a value that is still missing. Give one."
    wanted = _without_none(wanted)
    words = f"{_words(wanted)} with {', '.join(wanted.model_fields)}" if _is_section(wanted) else _words(wanted)
    if isinstance(value, str) and _is_section(wanted) and "name_or_path" in wanted.model_fields:
        words = f"{_words(wanted)}. Write {key}.name_or_path={value}, or name_or_path: {value} below it"
    return f"{key}: found {describe(value)}, but it takes {words}.{_advice(wanted, value)}"


def _of_training(key: str) -> str:
    """Return what was meant by a field of the trainer that stands at the top of a config."""
    field = TRAINER_FIELDS_ELSEWHERE.get(key, key)
    return f" Did you mean training.{field}?" if field in training_fields() else ""


def _words(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"one of {', '.join(hint)}"
    if typing.get_origin(hint) is list:
        return "a list"
    return _WORDS.get(hint, "a mapping")


def _advice(hint: Any, value: Any) -> str:
    if hint is str and isinstance(value, bool | int | float):
        return " Put it in quotes to make it text."
    if isinstance(hint, type) and issubclass(hint, StrEnum) and isinstance(value, str):
        return did_you_mean(value, hint)
    return ""


def _type_at(keys: Iterable[str | int], root: type[Section]) -> Any:
    """Return the type of what stands at ``keys`` of a section, as the schema declares it."""
    hint: Any = root
    for name in keys:
        hint = _inside(_without_none(hint), name)
    return hint


def _inside(hint: Any, name: str | int = "") -> Any:
    """Return the type of a section's field ``name``, or of every item of a list or mapping."""
    if _is_section(hint):
        return hint.model_fields[name].annotation
    return (typing.get_args(hint) or (Any,))[-1]


def _is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)


def _optional(hint: Any) -> bool:
    return hint is Any or type(None) in typing.get_args(hint)


def _without_none(hint: Any) -> Any:
    return next(a for a in typing.get_args(hint) if a is not type(None)) if isinstance(hint, types.UnionType) else hint


def _plain(default: Any) -> Any:
    if isinstance(default, BaseModel):
        return default.model_dump()
    return default.value if isinstance(default, StrEnum) else default
