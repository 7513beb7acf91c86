"""Every family, in the order of the table."""

from __future__ import annotations

from pathlib import Path

import vision_language_builders  # noqa: F401, which registers its families
from family_builders import FAMILIES


def build(name: str, folder: Path) -> Path:
    """Build the model of a family in a folder below ``folder``, unless it is there, and return where."""
    path = folder / name.replace(" ", "-").replace(",", "")
    if not path.is_dir():
        next(family for family in FAMILIES if family.name == name).build(path)
    return path
