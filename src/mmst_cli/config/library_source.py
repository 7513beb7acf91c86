"""The source of the installed libraries as syntax trees: found without importing them, parsed once."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

_ENUM_FILES = (
    ("transformers", "trainer_utils.py"),
    ("transformers", "training_args.py"),
    ("sentence_transformers", "base/sampler.py"),
    ("sentence_transformers", "util/similarity.py"),
)


def package_file(package: str, file: str) -> Path | None:
    """Find a file of an installed package, by its path below the package; None where it is not."""
    # find_spec imports the parents of a submodule, so it is asked for the top package only.
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    return path if path and path.is_file() else None


@cache
def body(path: Path | None) -> list[ast.stmt]:
    """Return the top-level statements of a source file; none for no file."""
    return ast.parse(path.read_text(encoding="utf-8")).body if path else []


def folder_file(folder: str, module: str = "__init__") -> Path | None:
    """Find a module of sentence-transformers' `losses` or `evaluation`."""
    return package_file("sentence_transformers", f"sentence_transformer/{folder}/{module}.py")


@cache
def exported_names(folder: str) -> tuple[str, ...]:
    """Return the `__all__` of sentence-transformers' `losses` or `evaluation`."""
    for node in body(folder_file(folder)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


@cache
def modules(folder: str) -> dict[str, str]:
    """Class name to the module of the same folder that it is imported from."""
    imports = [n for n in body(folder_file(folder)) if isinstance(n, ast.ImportFrom) and n.level == 1]
    return {alias.name: node.module for node in imports for alias in node.names if node.module}


def find_class(folder: str, name: str, module: str | None = None) -> tuple[str, ast.ClassDef] | None:
    """Find a class by the folder's imports, or else in ``module``; return its module with it."""
    where = modules(folder).get(name, module)
    for node in body(folder_file(folder, where)) if where else []:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return where or "", node
    return None


def initializer(node: ast.ClassDef) -> ast.FunctionDef | None:
    """Return the class's own `__init__`, if it has one."""
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)


def enum_values(name: str) -> tuple[str, ...]:
    """The values of one of the libraries' enums, such as IntervalStrategy; empty if it is none of them."""
    return tuple(enum_members(name).values())


@cache
def enum_members(name: str) -> dict[str, str]:
    """Member to value of one of the libraries' enums; empty if it is none of them."""
    if not name.isidentifier():
        return {}
    for package, file in _ENUM_FILES:
        for node in body(package_file(package, file)):
            if not isinstance(node, ast.ClassDef) or node.name != name:
                continue
            if any("Enum" in ast.unparse(base) for base in node.bases):
                assigned = [line for line in node.body if isinstance(line, ast.Assign)]
                values = {ast.unparse(a.targets[0]): a.value for a in assigned if isinstance(a.value, ast.Constant)}
                return {member: str(value.value) for member, value in values.items()}
    return {}
