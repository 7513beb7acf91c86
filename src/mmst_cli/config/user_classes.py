"""A user's own losses and evaluators, named in a config by dotted paths: all that reading a config ever imports."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from mmst_cli.config.arguments import Parameter, Signature
from mmst_cli.errors import ConfigError, did_you_mean

_EMPTY = inspect.Parameter.empty
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def is_dotted(type_name: str) -> bool:
    """Say whether a `type` in a config is the path of a user's own class."""
    return "." in type_name


def user_loss(path: str) -> Any:
    """Import the loss at a dotted path, from the working directory too, as `python -m` does.

    Raises:
        ConfigError: there is no such class, it can't be imported, or it is no ``torch.nn.Module``.
    """
    found = _import_class(path)
    from torch.nn import Module

    return _of_kind(found, Module, path, "a loss derives from torch.nn.Module")


def user_evaluator(path: str) -> Any:
    """Import the evaluator at a dotted path, as :func:`user_loss` does a loss.

    Raises:
        ConfigError: there is no such class, it can't be imported, or it is no ``SentenceEvaluator``.
    """
    found = _import_class(path)
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

    wanted = "an evaluator derives from sentence_transformers.evaluation.SentenceEvaluator"
    return _of_kind(found, SentenceEvaluator, path, wanted)


@cache
def user_loss_signature(path: str) -> Signature:
    """Return what a user's loss takes; what comes first is the model, whatever it is called.

    Raises:
        ConfigError: as :func:`user_loss`, or it takes no model.
    """
    from torch.nn import Module

    parameters, is_open = _parameters(user_loss(path), Module)
    first = next((parameter for parameter in parameters if parameter.kind in _BY_PLACE), None)
    if first is None and is_open:
        return _signature(parameters, is_open)
    if first is None:
        raise ConfigError(f"{path} takes nothing by place, and a loss is given the model first.")
    return _signature([first.replace(name="model"), *(p for p in parameters if p is not first)], is_open)


@cache
def user_evaluator_signature(path: str) -> Signature:
    """Return what a user's evaluator takes.

    Raises:
        ConfigError: as :func:`user_evaluator`.
    """
    from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator

    return _signature(*_parameters(user_evaluator(path), SentenceEvaluator))


def _import_class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")):
        raise ConfigError(f"{path} is no path of a class. It is written package.module.Class.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # not ours: one that it imports itself
            raise ConfigError(_failed(module, error)) from error
        raise ConfigError(f"there is no module {error.name}, neither in {here} nor among what is installed.") from error
    except Exception as error:  # whatever a user's module may raise
        raise ConfigError(_failed(module, error)) from error
    if not hasattr(imported, name):
        classes = [known for known, value in vars(imported).items() if isinstance(value, type)]
        raise ConfigError(f"the module {module} has no {name}.{did_you_mean(name, classes)}")
    return getattr(imported, name)


def _failed(module: str, error: BaseException) -> str:
    """Say why and where a module couldn't be imported."""
    places = traceback.extract_tb(error.__traceback__)
    where = f"{places[-1].filename}, line {places[-1].lineno}" if places else module
    if isinstance(error, SyntaxError):
        where = f"{error.filename}, line {error.lineno}"
        return f"{module} can't be imported: {where}: {error.msg}."
    return f"{module} can't be imported: {where}: {type(error).__name__}: {error}."


def _of_kind(found: Any, base: type, path: str, wanted: str) -> Any:
    if not isinstance(found, type) or not issubclass(found, base):
        what = f"a class of {', '.join(b.__name__ for b in found.__bases__)}" if isinstance(found, type) else "no class"
        raise ConfigError(f"{path} is {what}, and {wanted}.")
    return found


def _parameters(found: type, base: type) -> tuple[list[inspect.Parameter], bool]:
    """Return the parameters of a class, with those of the classes below ``base`` that its `**kwargs` hand on.

    True beside them says that it takes any others as well.
    """
    merged: dict[str, inspect.Parameter] = {}
    is_open = False
    for owner in found.__mro__[: found.__mro__.index(base)]:
        if "__init__" not in vars(owner):
            continue
        _, *parameters = inspect.signature(owner.__init__).parameters.values()  # type: ignore[misc]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                merged.setdefault(parameter.name, parameter)
        is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        if not is_open:
            break
    return list(merged.values()), is_open


def _signature(parameters: list[inspect.Parameter], is_open: bool) -> Signature:
    taken = {p.name: (_source(p.annotation), None if p.default is _EMPTY else repr(p.default)) for p in parameters}
    return Signature({name: Parameter(*source) for name, source in taken.items()}, is_open)


def _source(annotation: Any) -> str | None:
    if annotation is _EMPTY:
        return None
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
