"""What a class takes, and whether values from a config fit it: types as source text, told in words."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmst_cli.config.library_source import enum_values
from mmst_cli.errors import did_you_mean

# Types that a library builds in Python and that no YAML value can be.
PYTHON_OBJECTS = {"Callable", "Module", "nn.Module", "SentenceTransformer", "Tensor", "DataLoader"}

_SIMPLE: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "str": ("text", lambda value: isinstance(value, str)),
}
_LISTS = {"list", "List", "tuple", "Tuple", "Sequence", "set", "Iterable"}
_MAPPINGS = {"dict", "Dict", "Mapping"}


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
    return _wanted(value, ast.parse(annotation.strip("\"'"), mode="eval").body)


def needs_python_object(annotation: str) -> bool:
    """Say whether no value of a YAML file, but null, can be of this type."""
    alternatives = _alternatives(ast.parse(annotation.strip("\"'"), mode="eval").body)
    names = {_name(node) for node in alternatives if not _is_none(node)}
    return bool(names) and names <= PYTHON_OBJECTS


def is_model(parameter: Parameter) -> bool:
    """Say whether an argument is a SentenceTransformer, or one or nothing."""
    if parameter.annotation is None:
        return False
    alternatives = _alternatives(ast.parse(parameter.annotation.strip("\"'"), mode="eval").body)
    names = {_name(node).rpartition(".")[2] for node in alternatives if not _is_none(node)}
    return names == {"SentenceTransformer"}


def is_literal(source: str) -> bool:
    """Say whether ``source`` is a plain value, such as a number or a list of texts."""
    try:
        ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return False
    return True


def _wanted(value: Any, node: ast.expr) -> str | None:
    alternatives = _alternatives(node)
    for alternative in alternatives:
        # `IntervalStrategy | str` takes any text by its annotation and only the enum's by its code.
        if (values := enum_values(_name(alternative))) and not (value is None and any(map(_is_none, alternatives))):
            return None if value in values else f"one of {', '.join(values)}"
    answers = [_wanted_by_one(value, alternative) for alternative in alternatives]
    if None in answers:
        return None
    words = [answer for answer in answers if answer and answer != "nothing"] or ["nothing"]
    return " or ".join(dict.fromkeys(words))


def _wanted_by_one(value: Any, node: ast.expr) -> str | None:
    name = _name(node)
    if _is_none(node):
        return None if value is None else "nothing"
    if name in _SIMPLE:
        words, fits = _SIMPLE[name]
        return None if fits(value) else words
    if name == "Literal":
        options = [ast.literal_eval(option) for option in _arguments(node)]
        if any(value == option and type(value) is type(option) for option in options):
            return None
        return f"one of {', '.join(map(str, options))}"
    if name in _LISTS:
        return _wanted_by_container(value, node, (list, tuple), "a list")
    if name in _MAPPINGS:
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
    arguments = [argument for argument in _arguments(node) if not _is_ellipsis(argument)]
    if not arguments:
        return None
    # dict[K, V] says what its values are; only one argument says what all items of a list or tuple are.
    if not isinstance(value, dict) and len(arguments) > 1:
        return None
    refusals = [refusal for item in items if (refusal := _wanted(item, arguments[-1]))]
    return f"{words} of which each is {refusals[0]}" if refusals else None


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _alternatives(node.left) + _alternatives(node.right)
    if _name(node) == "Union":
        return [one for argument in _arguments(node) for one in _alternatives(argument)]
    if _name(node) == "Optional":
        return [*_alternatives(_arguments(node)[0]), ast.Constant(None)]
    return [node]


def _name(node: ast.expr) -> str:
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node).removeprefix("torch.")


def _arguments(node: ast.expr) -> list[ast.expr]:
    if not isinstance(node, ast.Subscript):
        return []
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


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
    if value is not None and _is_object(parameter):
        return (
            f"found {describe(value)}, but {type_name} wants a Python object here, which a config can't hold."
            " Leave it out to take the default."
        )
    wanted = wanted_type(value, parameter.annotation) if parameter.annotation else None
    return f"found {describe(value)}, but {type_name} takes {wanted}." if wanted else None


def _is_object(parameter: Parameter) -> bool:
    if parameter.annotation is not None:
        return needs_python_object(parameter.annotation)
    # Not annotated: a default such as `cos_sim` or `SiameseDistanceMetric.COSINE_DISTANCE` is a function.
    return parameter.default is not None and not is_literal(parameter.default)


def _object_note(parameter: Parameter) -> str:
    if not _is_object(parameter):
        return ""
    return f", and it is a Python object ({parameter.annotation}), which a config can't hold. Take another type"
