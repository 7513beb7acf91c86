"""Annotations of the libraries' arguments, as syntax trees."""

from __future__ import annotations

import ast

PYTHON_OBJECTS = {"Callable", "Module", "nn.Module", "SentenceTransformer", "Tensor", "DataLoader"}
"""Types that a library builds in Python and that no YAML value can be."""
LISTS = {"list", "List", "tuple", "Tuple", "Sequence", "set", "Iterable"}
MAPPINGS = {"dict", "Dict", "Mapping"}


def parsed(annotation: str) -> ast.expr:
    """Return the tree of an annotation, which may stand in quotes."""
    return ast.parse(annotation.strip("\"'"), mode="eval").body


def alternatives(node: ast.expr) -> list[ast.expr]:
    """Return the types of which a value may be any."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return alternatives(node.left) + alternatives(node.right)
    if name_of(node) == "Union":
        return [one for argument in arguments_of(node) for one in alternatives(argument)]
    if name_of(node) == "Optional":
        return [*alternatives(arguments_of(node)[0]), ast.Constant(None)]
    return [node]


def name_of(node: ast.expr) -> str:
    """Return the name of a type, without what stands in brackets behind it."""
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node).removeprefix("torch.")


def arguments_of(node: ast.expr) -> list[ast.expr]:
    """Return what stands in brackets behind a type."""
    if not isinstance(node, ast.Subscript):
        return []
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def is_none(node: ast.expr) -> bool:
    """Say whether a type is that of nothing."""
    return isinstance(node, ast.Constant) and node.value is None


def is_ellipsis(node: ast.expr) -> bool:
    """Say whether a type stands for any number of the one before it."""
    return isinstance(node, ast.Constant) and node.value is ...
