"""Arguments in a config against the signature of the class they are for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mmst_cli.config.signatures import Parameter, Signature
from mmst_cli.config.values import describe, is_literal, needs_python_object, wanted_type
from mmst_cli.errors import did_you_mean


def check_arguments(
    type_name: str, args: Mapping[str, Any], signature: Signature, given: Collection[str], key: str
) -> list[str]:
    """Return the faults of ``args``, those in the file for the class ``type_name``.

    Args:
        type_name: the class, as the file names it.
        args: its arguments in the file.
        signature: what the class takes.
        given: arguments that mmst itself gives, and a file may not.
        key: dotted key of ``args`` in the file.
    """
    free = {name: p for name, p in signature.parameters.items() if name not in given}
    faults = []
    for name, value in args.items():
        if name in given:
            faults.append(f"{key}.{name}: mmst gives {type_name} its {name}. Leave it out.")
        elif name not in free:
            known = f" It takes {', '.join(free)}." if free else " It takes none."
            faults.append(f"{key}.{name}: {type_name} has no such argument.{did_you_mean(name, free) or known}")
        elif fault := _check_value(type_name, value, free[name]):
            faults.append(f"{key}.{name}: {fault}")
    for name in signature.required:
        if name in free and name not in args:
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
