"""JSON Schema of what the libraries' classes take."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
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
from mmst_cli.config.arguments import Parameter, Signature, is_object
from mmst_cli.config.library_source import enum_members, enum_values

Schema = dict[str, Any]
_SIMPLE = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def annotation_schema(annotation: str | None) -> Schema:
    """Return the schema of the values that an annotation takes; that of any value where it isn't understood."""
    return _schema(parsed(annotation)) if annotation else {}


def parameter_schema(parameter: Parameter, description: str = "") -> Schema:
    """Return the schema of an argument, with its description and default."""
    schema = annotation_schema(parameter.annotation)
    return {**schema, **({"description": description} if description else {}), **default_of(parameter.default)}


def signature_schema(
    signature: Signature, given: Collection[str], descriptions: Mapping[str, str], own: Mapping[str, Schema]
) -> Schema:
    """Return the schema of the arguments that a file may give a class.

    Args:
        signature: what the class takes.
        given: arguments that mmst itself gives.
        descriptions: argument to what is said about it.
        own: schemas of arguments that take something else, or more, in a config.
    """
    free = {n: p for n, p in signature.parameters.items() if n not in given and (n in own or not is_object(p))}
    properties = {name: parameter_schema(p, descriptions.get(name, "")) for name, p in free.items()}
    for name, schema in own.items():
        kept = {key: value for key, value in properties.get(name, {}).items() if key in ("description", "default")}
        properties[name] = {**kept, **schema}
    schema = {"type": "object", "properties": properties, "additionalProperties": signature.is_open}
    required = [name for name in signature.required if name in free]
    return {**schema, "required": required} if required else schema


def default_of(source: str | None) -> Schema:
    """Return `default` and the value that source text stands for; nothing where it is no plain one."""
    if source is None:
        return {}
    enum, _, member = source.rpartition(".")
    if enum and member in enum_members(enum):
        return {"default": enum_members(enum)[member]}
    try:
        value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return {}
    return {"default": list(value) if isinstance(value, tuple | set) else value}


def _schema(node: ast.expr) -> Schema:
    types = alternatives(node)
    nothing = any(map(is_none, types))
    for one in types:
        # `IntervalStrategy | str` takes any text by its annotation and only the enum's by its code.
        if values := enum_values(name_of(one)):
            return {"enum": [*values, None] if nothing else list(values)}
    found: list[Schema] = []
    for one in types:
        schema = _schema_of_one(one)
        if schema is not None and schema not in found:
            found.append(schema)
    if not found or {} in found:
        return {}
    return found[0] if len(found) == 1 else {"anyOf": found}


def _schema_of_one(node: ast.expr) -> Schema | None:
    """Return the schema of a type; None of one that no value of a file can be."""
    name = name_of(node)
    if is_none(node):
        return {"type": "null"}
    if name in _SIMPLE:
        return {"type": _SIMPLE[name]}
    if name == "Literal":
        return {"enum": [ast.literal_eval(option) for option in arguments_of(node)]}
    inner = [argument for argument in arguments_of(node) if not is_ellipsis(argument)]
    if name in LISTS:  # only one argument says what all items are
        return {"type": "array", "items": _schema(inner[0])} if len(inner) == 1 else {"type": "array"}
    if name in MAPPINGS:
        return {"type": "object", "additionalProperties": _schema(inner[-1])} if inner else {"type": "object"}
    return None if name in PYTHON_OBJECTS else {}
