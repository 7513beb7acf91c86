"""What a class takes, and whether values from a config fit it: types as source text, told in words."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.annotations import (
    LISTS,
    MAPPINGS,
    PYTHON_OBJECTS,
    alternatives,
    arguments_of,
    is_ellipsis,
    is_none,
    name_of,
    parsed,
)
from mmst_cli.config.library_source import enum_values
from mmst_cli.errors import did_you_mean

_SIMPLE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("text", lambda value: isinstance(value, str)),
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a class: its annotation and default as source text, None where there is none."""

    annotation: str | None
    default: str | None

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is None


@dataclass(frozen=True)
class Signature:
    """What a class is constructed with, by argument name, without `self`."""

    parameters: Mapping[str, Parameter]
    is_open: bool = False
    """Whether any other argument is taken as well."""

    @property
    def required(self) -> list[str]:
        """The names that must be given."""
        return [name for name, parameter in self.parameters.items() if parameter.required]


def describe(value: Any) -> str:
    """Return a value as a message names it: what it is, and how it reads."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"the list {list(value)}" if len(str(value)) < 60 else "a list"
    if isinstance(value, str):
        return f'the text "{value}"'
    return f"the number {value}" if isinstance(value, int | float) else str(value)


def wanted_type(value: Any, annotation: str) -> str | None:
    """Return what ``annotation`` wants in words, or None if ``value`` fits it.

    Only what is certain is refused: an annotation that is not understood takes every value.
    """
    return _wanted(value, parsed(annotation))


def needs_python_object(annotation: str) -> bool:
    """Say whether no value of a YAML file, but null, can be of this type."""
    names = {name_of(node) for node in alternatives(parsed(annotation)) if not is_none(node)}
    return bool(names) and names <= PYTHON_OBJECTS


def is_model(parameter: Parameter) -> bool:
    """Say whether an argument is a SentenceTransformer, or one or nothing."""
    if parameter.annotation is None:
        return False
    types = alternatives(parsed(parameter.annotation))
    names = {name_of(node).rpartition(".")[2] for node in types if not is_none(node)}
    return names == {"SentenceTransformer"}


def is_literal(source: str) -> bool:
    """Say whether ``source`` is a plain value, such as a number or a list of texts."""
    try:
        ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return False
    return True


def _wanted(value: Any, node: ast.expr) -> str | None:
    types = alternatives(node)
    for alternative in types:
        # `IntervalStrategy | str` takes any text by its annotation and only the enum's by its code.
        if (values := enum_values(name_of(alternative))) and not (value is None and any(map(is_none, types))):
            return None if value in values else f"one of {', '.join(values)}"
    answers = [_wanted_by_one(value, alternative) for alternative in types]
    if None in answers:
        return None
    words = [answer for answer in answers if answer and answer != "nothing"] or ["nothing"]
    return " or ".join(dict.fromkeys(words))


def _wanted_by_one(value: Any, node: ast.expr) -> str | None:
    name = name_of(node)
    if is_none(node):
        return None if value is None else "nothing"
    if name in _SIMPLE:
        words, fits = _SIMPLE[name]
        return None if fits(value) else words
    if name == "Literal":
        options = [ast.literal_eval(option) for option in arguments_of(node)]
        if any(value == option and type(value) is type(option) for option in options):
            return None
        return f"one of {', '.join(map(str, options))}"
    if name in LISTS:
        return _wanted_by_container(value, node, (list, tuple), "a list")
    if name in MAPPINGS:
        return _wanted_by_container(value, node, (dict,), "a mapping")
    if name in PYTHON_OBJECTS:
        return f"a Python object ({name})"
    if values := enum_values(name):
        return f"one of {', '.join(values)}"
    return None


def _wanted_by_container(value: Any, node: ast.expr, kinds: tuple[type, ...], words: str) -> str | None:
    if not isinstance(value, kinds):
        return words
    items: Iterable[Any] = value.values() if isinstance(value, dict) else value  # type: ignore[assignment]
    arguments = [argument for argument in arguments_of(node) if not is_ellipsis(argument)]
    if not arguments:
        return None
    # dict[K, V] says what its values are; only one argument says what all items of a list or tuple are.
    if not isinstance(value, dict) and len(arguments) > 1:
        return None
    refusals = [refusal for item in items if (refusal := _wanted(item, arguments[-1]))]
    return f"{words} of which each is {refusals[0]}" if refusals else None


def check_arguments(
    type_name: str,
    args: Mapping[str, Any],
    signature: Signature,
    given: Collection[str],
    key: str,
    sections: Collection[str] = (),
) -> list[str]:
    """Return the faults of ``args``, those in the file for the class ``type_name``.

    Args:
        type_name: the class, as the file names it.
        args: its arguments in the file.
        signature: what the class takes.
        given: arguments that mmst itself gives, and a file may not.
        key: dotted key of ``args`` in the file.
        sections: arguments that are sections of a config, and checked as such.
    """
    free = {name: p for name, p in signature.parameters.items() if name not in given}
    faults = []
    for name, value in args.items():
        if name in given:
            faults.append(f"{key}.{name}: mmst gives {type_name} its {name}. Leave it out.")
        elif name in sections or (name not in free and signature.is_open):
            continue
        elif name not in free:
            known = f" It takes {', '.join(free)}." if free else " It takes none."
            faults.append(f"{key}.{name}: {type_name} has no such argument.{did_you_mean(name, free) or known}")
        elif fault := _check_value(type_name, value, free[name]):
            faults.append(f"{key}.{name}: {fault}")
    for name in signature.required:
        if name in free and name not in args and name not in sections:
            faults.append(f"{key}.{name}: missing. {type_name} needs it{_object_note(free[name])}.")
    return faults


def _check_value(type_name: str, value: Any, parameter: Parameter) -> str | None:
    if value is not None and is_object(parameter):
        return (
            f"found {describe(value)}, but {type_name} wants a Python object here, which a config can't hold."
            " Leave it out to take the default."
        )
    wanted = wanted_type(value, parameter.annotation) if parameter.annotation else None
    return f"found {describe(value)}, but {type_name} takes {wanted}." if wanted else None


def is_object(parameter: Parameter) -> bool:
    """Say whether an argument wants a Python object, which no value of a YAML file can be."""
    if parameter.annotation is not None:
        return needs_python_object(parameter.annotation)
    # Not annotated: a default such as `cos_sim` or `SiameseDistanceMetric.COSINE_DISTANCE` is a function.
    return parameter.default is not None and not is_literal(parameter.default)


def _object_note(parameter: Parameter) -> str:
    if not is_object(parameter):
        return ""
    return f", and it is a Python object ({parameter.annotation}), which a config can't hold. Take another type"
