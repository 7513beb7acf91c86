"""What names a model by content, in records of work that is resumed and of what is kept: no weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.adapter_folder import find_adapter
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load_model import find_model
from mmst_cli.storage import digest

WEIGHTS = (".safetensors", ".bin")
BLOCKS, BLOCK = 64, 16_384
"""Blocks that are read of a file that names no tensors, and bytes of a block: up to 1 MiB they are all of it."""
_HEADER = 100_000_000  # bytes, safetensors' own limit
_END = 65_536


def model_identity(config: ModelConfig, seed: int) -> dict[str, Any]:
    """Return what names a model: its section, and the content of each folder or the commit of each hub id.

    Args:
        config: the section.
        seed: of weights that no checkpoint has, which a model with routes may begin with.
    """
    sources = {"model": (config.name_or_path, config.revision)} if config.name_or_path else {}
    sources |= {route: (section.name_or_path, section.revision) for route, section in config.routes.items()}
    return {
        "section": _section(config),
        "seed": seed if config.routes else None,
        "content": {name: _content(find_model(source), revision) for name, (source, revision) in sources.items()},
    }


def weights_identity(model: str, recorded: str | None = None) -> str:
    """Return what names the weights of a model folder, whatever else is in it; nothing for a hub id.

    Args:
        model: a model folder, run folder, hub id or built-in model.
        recorded: what it is to be compared with, made by the same version or an earlier one.
    """
    source = find_model(model)
    way = TENSORS if not recorded else recorded[: recorded.find("-") + 1]
    found = _files(source, _WAYS.get(way, _tensors), lambda path: path.suffix in WEIGHTS)
    if not found:
        return ""
    adapter = find_adapter(source)
    return f"{way}{digest(found, weights_identity(adapter.name, recorded)) if adapter else digest(found)}"


def _section(config: ModelConfig) -> dict[str, Any]:
    """Return the section without what is only put into a model to train it; older records don't know the rest."""
    later = {name for name in ("quantization", "linear_patches") if not getattr(config, name)}
    return config.model_dump(exclude={"adapter", *later})


def _content(source: str, revision: str | None) -> str | None:
    own = digest(_files(source, _tensors)) if Path(source).is_dir() else checkpoint_commit(source, revision)
    adapter = find_adapter(source, revision)
    return digest(own, _content(adapter.name, adapter.revision)) if adapter else own


def _files(
    source: str, read: Callable[[Path], str], wanted: Callable[[Path], bool] = Path.is_file
) -> list[tuple[str, int, str]]:
    """Return name, size and what is read of each file of a folder."""
    files = sorted(path for path in Path(source).rglob("*") if wanted(path)) if Path(source).is_dir() else []
    return [(path.relative_to(source).as_posix(), path.stat().st_size, read(path)) for path in files]


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END))
        return file.read().hex()


def _spread(path: Path) -> str:
    """Return a digest of blocks from the beginning of a file to its end."""
    size, found = path.stat().st_size, xxhash.xxh3_128()
    with path.open("rb") as file:
        for number in range(BLOCKS):
            file.seek(number * max(0, size - BLOCK) // (BLOCKS - 1))
            found.update(file.read(BLOCK))
    return found.hexdigest()


def _tensors(path: Path) -> str:
    """Return a digest of a block of every tensor: a step of training changes all of one, and may leave the others."""
    if path.suffix != ".safetensors":
        return _spread(path)
    found = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            header = file.read(min(_HEADER, int.from_bytes(file.read(8), "little")))
            found.update(header)
            start = file.tell()
            places = [one["data_offsets"] for name, one in json.loads(header).items() if name != "__metadata__"]
            for begin, end in sorted(places):
                file.seek(start + max(begin, (begin + end - BLOCK) // 2))
                found.update(file.read(min(BLOCK, end - begin)))
    except (ValueError, TypeError, KeyError, AttributeError):  # what is wrong with it is told where it is loaded
        return _spread(path)
    return found.hexdigest()


TENSORS = "tensors-"
_WAYS: dict[str, Callable[[Path], str]] = {TENSORS: _tensors, "spread-": _spread, "": _tail}
"""How an identity of weights begins, to what of each file it was made of; all but the first are of earlier versions."""
