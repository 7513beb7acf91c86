"""The JSON Schema of configs, for editors and for `mmst schema KEY`: pydantic's, and what the libraries' classes take.

It is that of draft 7, which editors know. What it can't say, rules across fields, `mmst` checks itself.
"""

from __future__ import annotations

import copy
from functools import cache
from importlib import metadata
from typing import Any

from mmst_cli import __version__
from mmst_cli.config.argument_schema import Schema, annotation_schema, default_of, signature_schema
from mmst_cli.config.arguments import Parameter, Signature, is_object
from mmst_cli.config.library_help import (
    evaluator_documentation,
    loss_documentation,
    training_defaults,
    training_documentation,
)
from mmst_cli.config.rules_evaluators import FILLED, PRECISIONS, ROLES_NEEDED
from mmst_cli.config.rules_loss_models import model_arguments
from mmst_cli.config.rules_masking import MASK, MASKED
from mmst_cli.config.rules_training import OURS
from mmst_cli.config.rules_training_values import BOUNDS, IDLE, POWERLESS, TEXTS
from mmst_cli.config.schema import AUTO, Attention, Config
from mmst_cli.config.signatures import evaluator_names, evaluator_signature, loss_names, loss_signature, training_fields

REFERENCE = "#/$defs/"
_INTERPOLATION = {
    "type": "string",
    "pattern": r"\$\{.+\}",
    "description": "The value of another key: ${key.of.another}",
}
_OWN_CLASS = {
    "type": "string",
    "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
    "description": "A class of your own by its dotted path: my_package.my_module.MyClass",
}
_MARGIN = "Leave out documents of other rows that score above the positive by more than this, such as 0.1."


@cache
def config_schema() -> Schema:
    """Return the JSON Schema of configs, with what the installed losses, evaluators and trainer take."""
    schema = copy.deepcopy(Config.model_json_schema())
    definitions: dict[str, Schema] = schema.pop("$defs")
    schema["properties"]["training"] |= _training_schema()
    definitions["ModelConfig"]["properties"]["attn_implementation"]["examples"] = list(Attention)
    definitions["EvaluatorConfig"]["properties"]["precisions"]["items"] = {"enum": list(PRECISIONS)}
    models = REFERENCE + "ModelConfig"
    losses = {n: s for n in loss_names() if (s := loss_signature(n)) and _can_be_built(s, ("model", "loss"))}
    _add_types(definitions, "LossConfig", {name: _loss_schema(name, found, models) for name, found in losses.items()})
    evaluators = {n: s for n in ROLES_NEEDED if n in evaluator_names() and (s := evaluator_signature(n))}
    _add_types(
        definitions, "EvaluatorConfig", {name: _evaluator_schema(name, found) for name, found in evaluators.items()}
    )
    definitions["Interpolation"] = dict(_INTERPOLATION)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": f"Written by `mmst schema`: {_versions()}.",
        "title": "A config of mmst",
        **_opened(schema),
        "$defs": {n: d if n == "Interpolation" else _opened(d) for n, d in definitions.items()},
    }


def _versions() -> str:
    versions = {"mmst": __version__}
    for package in ("sentence-transformers", "transformers"):
        versions[package] = metadata.version(package)
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def _can_be_built(signature: Signature, given: tuple[str, ...]) -> bool:
    """Say whether no argument that a class needs is a Python object, which a config can't hold."""
    models = model_arguments(signature)
    needed = [name for name in signature.required if name not in (*given, *models)]
    return not any(is_object(signature.parameters[name]) for name in needed)


def _loss_schema(name: str, signature: Signature, models: str) -> Schema:
    said = loss_documentation(name)
    own: dict[str, Schema] = {
        argument: _or_nothing(models, signature, argument) for argument in model_arguments(signature)
    }
    if "mini_batch_size" in signature.parameters:
        fits = "As many as fit into the device's memory."
        own["mini_batch_size"] = {"anyOf": [{"type": "integer", "minimum": 1}, {"const": AUTO, "description": fits}]}
    if name == MASKED:
        own[MASK] = {"type": "number", "description": _MARGIN}
    schema = signature_schema(signature, ("model", "loss"), said.arguments, own)
    return {"description": said.summary, **schema}


def _or_nothing(models: str, signature: Signature, argument: str) -> Schema:
    parameter: Parameter = signature.parameters[argument]
    return {"anyOf": [{"$ref": models}, *([] if parameter.required else [{"type": "null"}])]}


def _evaluator_schema(name: str, signature: Signature) -> Schema:
    said = evaluator_documentation(name)
    given = (*FILLED, "truncate_dim") if "truncate_dim" in signature.parameters else FILLED
    return {"description": said.summary, **signature_schema(signature, given, said.arguments, {})}


def _add_types(definitions: dict[str, Schema], section: str, types: dict[str, Schema]) -> None:
    """Say in a section which types there are and that `args` are those of the type."""
    if not types:  # the library isn't installed
        return
    properties = definitions[section]["properties"]
    named = [{"const": name, "description": schema["description"]} for name, schema in types.items()]
    properties["type"] = {"description": properties["type"]["description"], "anyOf": [*named, dict(_OWN_CLASS)]}
    conditions = []
    for name, schema in types.items():
        definitions[name] = schema
        kinds = [{"$ref": REFERENCE + name}, {"$ref": f"{REFERENCE}Interpolation"}]
        then: Schema = {"properties": {"args": {"anyOf": kinds}}}
        if "required" in schema:
            then["required"] = ["args"]
        else:
            kinds.insert(1, {"type": "null"})
        conditions.append({"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": then})
    definitions[section]["allOf"] = conditions


def _training_schema() -> Schema:
    fields = {name: _training_field(name, annotation) for name, annotation in training_fields().items()}
    known = {name: schema for name, schema in fields.items() if name not in OURS}
    return {"properties": known, "additionalProperties": False} if known else {}


def _training_field(name: str, annotation: str) -> Schema:
    schema = {"enum": list(TEXTS[name])} if name in TEXTS else annotation_schema(annotation)
    least, largest = BOUNDS.get(name, (None, None))
    bounds = {"minimum": least, "maximum": largest}
    said = training_documentation()[name]
    if name in POWERLESS:
        said = f"It can do nothing here: {POWERLESS[name]}."
    elif name in IDLE:
        said = "Nothing changes by it: mmst reads, measures and logs in its own way."
    return {
        "description": said,
        **({"deprecated": True} if name in POWERLESS or name in IDLE else {}),
        **default_of(training_defaults().get(name)),
        **schema,
        **{word: bound for word, bound in bounds.items() if bound is not None},
    }


def _opened(node: Schema) -> Schema:
    """Return a schema in which every value may be an interpolation, and a mapping or list with a default nothing."""
    node = {key: value for key, value in node.items() if key != "title"}
    for key in ("additionalProperties", "items"):
        if isinstance(node.get(key), dict):
            node[key] = _or_interpolation(_opened(node[key]))
    if "properties" in node:
        node["properties"] = {name: _or_interpolation(_opened(value)) for name, value in node["properties"].items()}
    if "anyOf" in node:
        node["anyOf"] = [_opened(one) for one in node["anyOf"]]
    return node


def _or_interpolation(node: Schema) -> Schema:
    said: Schema = {key: node[key] for key in ("description", "default", "deprecated", "examples") if key in node}
    value = {key: one for key, one in node.items() if key not in said}
    kinds = list(value["anyOf"]) if set(value) == {"anyOf"} else [value]
    if any(_takes_text(kind) for kind in kinds):
        return node
    if isinstance(node.get("default"), list | dict) and {"type": "null"} not in kinds:
        kinds.append({"type": "null"})
    return {**said, "anyOf": [*kinds, {"$ref": f"{REFERENCE}Interpolation"}]}


def _takes_text(kind: Schema) -> bool:
    """Say whether any text, and with it any interpolation, is a value."""
    return not kind or (kind.get("type") == "string" and not {"enum", "const", "pattern"} & set(kind))


def is_interpolation(kind: Any) -> bool:
    """Say whether one of several schemas of a value is that of an interpolation."""
    return bool(kind == {"$ref": f"{REFERENCE}Interpolation"})


def resolved(schema: Schema) -> Schema:
    """Return what a reference is to; a schema that is none as it is."""
    reference = schema.get("$ref")
    found: Schema = config_schema()["$defs"][reference.removeprefix(REFERENCE)] if reference else schema
    return found


def types_of(section: Schema) -> list[str]:
    """Return the types of a section whose arguments are known."""
    return [condition["if"]["properties"]["type"]["const"] for condition in section.get("allOf", ())]
