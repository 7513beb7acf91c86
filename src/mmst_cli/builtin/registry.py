"""The models and data that come with mmst: generated from a seed at their first use, small enough to learn on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from mmst_cli.errors import DataError, ModelError, did_you_mean, visible

_MODELS = {  # name: module and function; imported when asked for
    "builtin:tiny-qwen3-vl": ("tiny_qwen3vl", "build_tiny_qwen3vl"),
    "builtin:tiny-qwen3-vl-video": ("tiny_qwen3vl", "build_tiny_qwen3vl_video"),
    "builtin:tiny-clap": ("tiny_clap", "build_tiny_clap"),
    "builtin:tiny-clip": ("tiny_clip", "build_tiny_clip"),
    "builtin:tiny-text": ("tiny_text", "build_tiny_text"),
}
_DATASETS = {
    "builtin:pages": ("pages", "build_pages"),
    "builtin:sounds": ("sounds", "build_sounds"),
    "builtin:clips": ("clips", "build_clips"),
}
BUILTIN_MODELS = tuple(_MODELS)
BUILTIN_DATASETS = tuple(_DATASETS)


def build_builtin(name: str) -> Path:
    """Return the folder of a built-in model, building it at its first use.

    Raises:
        ModelError: there is none of this name.
    """
    if name not in _MODELS:
        raise ModelError(
            f"{visible(name)}: no such built-in model; there is {', '.join(BUILTIN_MODELS)}."
            + did_you_mean(name, BUILTIN_MODELS)
        )
    module, function = _MODELS[name]
    build = cast(Callable[[], Path], getattr(import_module(f"mmst_cli.builtin.{module}"), function))
    return build()


def build_builtin_dataset(at: str, path: str, name: str) -> Path:
    """Return the folder of one part of a built-in dataset, as `save_to_disk` writes it, building it at its first use.

    Args:
        at: the key of the section, for messages.
        path: the dataset, such as ``builtin:pages``.
        name: the part of it, such as ``train``.

    Raises:
        DataError: there is no such dataset, or it has no part of this name.
    """
    if path not in _DATASETS:
        raise DataError(
            f"{at}.path: {visible(path)}: no such built-in dataset; there is {', '.join(BUILTIN_DATASETS)}."
            + did_you_mean(path, BUILTIN_DATASETS)
        )
    module, function = _DATASETS[path]
    generator = import_module(f"mmst_cli.builtin.{module}")
    names: Sequence[str] = generator.NAMES
    if name not in names:
        raise DataError(f"{at}.name: {name}: {path} has {', '.join(names)}." + did_you_mean(name, names))
    return cast(Callable[[str], Path], getattr(generator, function))(name)
