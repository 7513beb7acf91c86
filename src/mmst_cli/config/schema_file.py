"""The JSON Schema of configs as a file, by which editors complete and check them."""

from __future__ import annotations

import json
from pathlib import Path

from mmst_cli.config.json_schema import config_schema
from mmst_cli.errors import ConfigError, visible
from mmst_cli.shell_words import joined
from mmst_cli.storage import write_text

FILE = "mmst.schema.json"
"""What the schema is called beside a config."""
MODELINE = f"# yaml-language-server: $schema={FILE}"
"""The line of a config that tells editors where its schema is."""


def schema_text() -> str:
    """Return the schema as a file has it."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(path: Path, *, overwrite: bool) -> None:
    """Write the schema.

    Raises:
        ConfigError: something is there.
    """
    if path.is_dir() or (path.exists() and not overwrite):
        other = "Name a file." if path.is_dir() else "Name another file, or add --overwrite."
        raise ConfigError(f"--output: {visible(path)} exists. {other}")
    write_text(path, schema_text())


def schema_beside(config: Path) -> tuple[Path, str]:
    """Return the schema that a config's MODELINE names, and what became of it: one that is there stays as it is."""
    path = config.parent / FILE
    if not path.exists():
        write_text(path, schema_text())
        return path, f"wrote {path}, by which editors complete and check it"
    if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == schema_text():
        return path, f"{path} is there already"
    anew = joined(["mmst", "schema", "--output", path, "--overwrite"])
    return path, f"{path} was there and is another one: `{anew}` writes it anew"
