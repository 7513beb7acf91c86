"""What names a model by content, in records of work that is resumed and of what is kept: no weight is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.adapter_folder import find_adapter
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load_model import find_model
from mmst_cli.storage import digest

ENDS = 65_536  # bytes of an end of a large file: enough to tell a retrained model
SMALL = 2**20  # bytes of a file that is read whole
WEIGHTS = (".safetensors", ".bin")
BLOCKS, BLOCK = 64, 16_384
"""Blocks of a weights file that are read, and bytes of each: from all over it, for training may leave most as it is."""
SPREAD = "spread-"
"""How an identity begins that was made of such blocks; earlier ones were made of the end of each file."""


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
    earlier = bool(recorded) and not str(recorded).startswith(SPREAD)
    found = _files(source, _tail if earlier else _spread, lambda path: path.suffix in WEIGHTS)
    if not found:
        return ""
    adapter = find_adapter(source)
    named = digest(found, weights_identity(adapter.name, recorded)) if adapter else digest(found)
    return named if earlier else f"{SPREAD}{named}"


def _section(config: ModelConfig) -> dict[str, Any]:
    """Return the section without what is only put into a model to train it; older records don't know the rest."""
    later = {name for name in ("quantization", "linear_patches") if not getattr(config, name)}
    return config.model_dump(exclude={"adapter", *later})


def _content(source: str, revision: str | None) -> str | None:
    own = digest(_files(source, _ends)) if Path(source).is_dir() else checkpoint_commit(source, revision)
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
        file.seek(max(0, path.stat().st_size - ENDS))
        return file.read().hex()


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        if path.stat().st_size <= SMALL:
            return xxhash.xxh3_128_hexdigest(file.read())
        head = file.read(ENDS)
        file.seek(-ENDS, 2)
        return xxhash.xxh3_128_hexdigest(head + file.read())


def _spread(path: Path) -> str:
    """Return a digest of blocks from the beginning of a file to its end; of up to a megabyte they are all of it."""
    size, found = path.stat().st_size, xxhash.xxh3_128()
    with path.open("rb") as file:
        for number in range(BLOCKS):
            file.seek(number * max(0, size - BLOCK) // (BLOCKS - 1))
            found.update(file.read(BLOCK))
    return found.hexdigest()
