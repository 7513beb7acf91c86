"""What the libraries say about their losses, evaluators and training arguments, read from their source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from mmst_cli.config.library_source import body, find_class, initializer, package_file
from mmst_cli.config.signatures import OWN_EVALUATOR, training_lines

_ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")  # :class:`~a.b.C`
_LINK = re.compile(r"`([^`<]+?) <[^`>]*>`_+")
_ARGUMENT = re.compile(r"(\*{0,2}\w+)(?: \(.*?\))?: *(.*)")


@dataclass(frozen=True)
class Documentation:
    """What is said about a class."""

    summary: str = ""
    """The first sentence."""
    arguments: dict[str, str] = field(default_factory=dict)
    """Argument to what is said about it, on one line."""


@cache
def loss_documentation(name: str) -> Documentation:
    """Return what sentence-transformers says about a loss; nothing where it isn't installed."""
    return _documentation("losses", name)


@cache
def evaluator_documentation(name: str) -> Documentation:
    """Return what sentence-transformers, or mmst, says about an evaluator."""
    if name != OWN_EVALUATOR:
        return _documentation("evaluation", name)
    statements = body(package_file("mmst_cli", "evaluation/retrieval_evaluator.py"))
    return next(_of_class(node) for node in statements if isinstance(node, ast.ClassDef) and node.name == name)


@cache
def training_documentation() -> dict[str, str]:
    """Field of the trainer's arguments to what is said about it."""
    return {name: _plain(" ".join(_help(line))) for name, line in training_lines().items()}


@cache
def training_defaults() -> dict[str, str]:
    """Field of the trainer's arguments to the source of its default, where that is written in one place."""
    found = {}
    for name, line in training_lines().items():
        given = line.value
        if isinstance(given, ast.Call):
            given = next((keyword.value for keyword in given.keywords if keyword.arg == "default"), None)
        if given is not None:
            found[name] = ast.unparse(given)
    return found


def first_sentence(text: str) -> str:
    """Return a text up to the end of its first sentence."""
    return re.split(r"(?<=[^.][.]) (?=[A-Z`\"(])", text, maxsplit=1)[0]


def _help(line: ast.AnnAssign) -> Iterator[str]:
    """Yield the help in the metadata of a field."""
    for node in ast.walk(line):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help" and isinstance(value, ast.Constant):
                    yield str(value.value)


def _documentation(folder: str, name: str, module: str | None = None) -> Documentation:
    """Return what is said about a class, or, of what it has from a base, about that."""
    found = find_class(folder, name, module)
    if found is None:
        return Documentation()
    where, node = found
    own = _of_class(node)
    for base in () if initializer(node) else node.bases:
        inherited = _documentation(folder, ast.unparse(base), where)
        own = Documentation(own.summary or inherited.summary, inherited.arguments | own.arguments)
    return own


def _of_class(node: ast.ClassDef) -> Documentation:
    texts = [ast.get_docstring(one) or "" for one in (node, initializer(node)) if one is not None]
    summaries = [_plain(text.split("\n\n")[0]) for text in texts if text]
    arguments: dict[str, str] = {}
    for text in texts:
        arguments |= _arguments(text)
    return Documentation(first_sentence(summaries[0]) if summaries else "", arguments)


def _arguments(text: str) -> dict[str, str]:
    """Return argument to description of the `Args:` of a docstring."""
    _, _, section = text.partition("Args:\n")
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        indent = len(line) - len(line.lstrip())
        if line and not indent:
            break
        if indent == _INDENT and (argument := _ARGUMENT.match(line.strip())):
            found[argument[1].lstrip("*")] = [argument[2]]
        elif found:
            found[next(reversed(found))].append(line.strip())
    return {name: _plain(" ".join(lines)) for name, lines in found.items()}


_INDENT = 4


def _plain(text: str) -> str:
    """Return a text of reStructuredText as it is read, on one line."""
    named = _LINK.sub(r"\1", _ROLE.sub(r"\1", text))
    return re.sub(r"\s+", " ", named.replace("``", "`")).strip()
