"""The models that come with mmst: built from a seed at their first use, small enough to learn on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from mmst_cli.errors import ModelError, did_you_mean

_BUILDERS = {  # name: module and function; imported when asked for
    "builtin:tiny-qwen3-vl": ("tiny_qwen3vl", "build_tiny_qwen3vl"),
    "builtin:tiny-qwen3-vl-video": ("tiny_qwen3vl", "build_tiny_qwen3vl_video"),
    "builtin:tiny-clap": ("tiny_clap", "build_tiny_clap"),
    "builtin:tiny-clip": ("tiny_clip", "build_tiny_clip"),
    "builtin:tiny-text": ("tiny_text", "build_tiny_text"),
}
BUILTIN_MODELS = tuple(_BUILDERS)


def build_builtin(name: str) -> Path:
    """Return the folder of a built-in model, building it at its first use.

    Raises:
        ModelError: there is none of this name.
    """
    if name not in _BUILDERS:
        raise ModelError(
            f"{name}: no such built-in model; there is {', '.join(BUILTIN_MODELS)}."
            + did_you_mean(name, BUILTIN_MODELS)
        )
    module, function = _BUILDERS[name]
    build = cast(Callable[[], Path], getattr(import_module(f"mmst_cli.model.{module}"), function))
    return build()
