"""What a JSON Schema takes, in the words of messages."""

from __future__ import annotations

from mmst_cli.config.argument_schema import Schema
from mmst_cli.config.json_schema import is_interpolation, resolved
from mmst_cli.config.load import as_yaml

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def in_words(schema: Schema) -> str:
    """Return what a schema takes, but for nothing and the value of another key, which nearly all take."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if not is_interpolation(kind)]
    named = [str(kind["const"]) for kind in kinds if "const" in kind]
    words = [_kind_in_words(kind) for kind in kinds if "const" not in kind]
    words = [f"one of {', '.join(named)}", *words] if len(named) > 1 else [*words, *named]
    return " or ".join(dict.fromkeys(word for word in words if word != "nothing")) or "nothing"


def _kind_in_words(kind: Schema) -> str:
    kind = resolved(kind)
    if "anyOf" in kind:
        return in_words(kind) + _bounds(kind)
    if "enum" in kind:
        return f"one of {', '.join(as_yaml(value) for value in kind['enum'] if value is not None)}"
    if "pattern" in kind:
        return "the dotted path of a class of your own"
    each = in_words(kind["items"]) if kind.get("items") else ""
    return (
        _WORDS.get(str(kind.get("type")), "any value") + _bounds(kind) + (f" of which each is {each}" if each else "")
    )


def _bounds(kind: Schema) -> str:
    least, largest = kind.get("minimum"), kind.get("maximum")
    if least is None:
        return ""
    return f", {least:g} or more" if largest is None else f" between {least:g} and {int(largest)}"
