"""What decides which negatives are mined, by content: the model and the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xxhash

from mmst_cli.config.schema import ModelConfig, Role
from mmst_cli.model.checkpoint import checkpoint_commit
from mmst_cli.model.load import find_model
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_keys import row_keys
from mmst_cli.storage import digest

ENDS = 65_536  # bytes of either end of a large file
SMALL = 2**20  # bytes of a file that is read whole


def model_identity(config: ModelConfig, seed: int) -> dict[str, Any]:
    """Return what names a model: its section, and the content of each folder or the commit of each hub id.

    Args:
        config: the section.
        seed: of weights that no checkpoint has, which a model with routes may begin with.
    """
    sources = {"model": (config.name_or_path, config.revision)} if config.name_or_path else {}
    sources |= {route: (section.name_or_path, section.revision) for route, section in config.routes.items()}
    return {
        "section": config.model_dump(),
        "seed": seed if config.routes else None,
        "content": {name: _content(source, revision) for name, (source, revision) in sources.items()},
    }


def _content(name_or_path: str, revision: str | None) -> str | None:
    source = find_model(name_or_path)
    if not Path(source).is_dir():
        return checkpoint_commit(source, revision)
    files = sorted(path for path in Path(source).rglob("*") if path.is_file())
    return digest([(path.relative_to(source).as_posix(), path.stat().st_size, _ends(path)) for path in files])


def _ends(path: Path) -> str:
    with path.open("rb") as file:
        if path.stat().st_size <= SMALL:
            return xxhash.xxh3_128_hexdigest(file.read())
        head = file.read(ENDS)
        file.seek(-ENDS, 2)
        return xxhash.xxh3_128_hexdigest(head + file.read())


def rows_identity(rows: RowSet) -> str:
    """Return what names rows by the content of their anchors, positives and negatives, decoding nothing."""
    keys = row_keys(rows)
    hasher = xxhash.xxh3_128()
    for column in rows.with_role(Role.anchor, Role.positive, Role.negative):
        for key in keys[column.name]:
            hasher.update(key.encode("utf-8", "surrogatepass") + b"\0")
        hasher.update(f"{column.name} {column.role} {column.modality}".encode())
    return f"{len(rows)} rows, {hasher.hexdigest()}"
