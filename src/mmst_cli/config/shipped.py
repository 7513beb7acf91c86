"""The configs that come with mmst, and copies of them to change."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmst_cli.errors import ConfigError, did_you_mean, visible
from mmst_cli.shell_words import quoted

if TYPE_CHECKING:
    from rich.table import Table

_FOLDER = Path(__file__).parent.parent / "configs"
SUFFIXES = (".yaml", ".yml")
"""What the name of a config ends in."""


@dataclass(frozen=True)
class Shipped:
    """A config that comes with mmst."""

    name: str
    description: str
    """The first sentence of its comment."""


def shipped_configs() -> list[Shipped]:
    """Return the configs that come with mmst, by name."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.yaml")}
    return [Shipped(name, _first_sentence(texts[name])) for name in sorted(texts)]


def shipped_text(name: str, output: Path) -> str:
    """Return a config that comes with mmst, its comments included, as it is written to ``output``.

    The commands in its comments name that file. No path in it depends on where it stands.

    Raises:
        ConfigError: there is no such config.
    """
    known = [config.name for config in shipped_configs()]
    if name not in known:
        suggestion = did_you_mean(name, known) or f" There are {', '.join(known)}."
        if Path(name).exists():
            suggestion += f" For data of your own: `mmst init --from {quoted(name)}`."
        raise ConfigError(f"mmst init {name}: no such config comes with mmst.{suggestion}")
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return text.replace(f"configs/{name}.yaml", quoted(output))


def shipped_table() -> Table:
    """Return the configs that come with mmst, a line each."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for config in shipped_configs():
        table.add_row(config.name, config.description)
    return table


def check_writable(output: Path, *, overwrite: bool) -> None:
    """Check that a config may be written.

    Raises:
        ConfigError: something is there, or the name is none of a config.
    """
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"--output: {visible(output)}: the name of a config ends in .yaml.")
    if output.is_dir() or (output.exists() and not overwrite):
        other = "Name a file." if output.is_dir() else "Name another file by --output, or add --overwrite."
        raise ConfigError(f"{visible(output)} exists. {other}")


def _first_sentence(text: str) -> str:
    lines = [line.removeprefix("#").strip() for line in text.split("\n\n")[0].splitlines() if line.startswith("#")]
    said = " ".join(line for line in lines if "$schema=" not in line)
    return re.split(r"(?<=\.) ", said)[0]
