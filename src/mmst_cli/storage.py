"""Files as this project writes them: under a temporary name first, renamed when whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give another name beside ``path`` to write under; the file takes its own once it is whole.

    A reader sees the old file or the new one, never half of it, and what fails on the way leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` to ``path``, as :func:`whole_file` does."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` as indented JSON, as :func:`write_text` does."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append ``record`` to a ``.jsonl`` file as one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def cache_folder() -> Path:
    """Return where generated models and datasets are kept: ``$MMST_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("MMST_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmst"


def build_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """Return ``target``, filled by ``build`` if it isn't there yet.

    ``build`` gets a temporary folder beside ``target`` that takes its name once it is whole, so that two
    processes, or a killed one, never leave half a folder behind.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        build(whole)
        try:
            whole.rename(target)
        except OSError:  # another process finished the same content first
            if not target.is_dir():
                raise
    return target


def replace_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder under a temporary name and put it in the place of ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def digest(*parts: Any) -> str:
    """Return 16 hexadecimal digits that name the given values by content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expand_home(path: str) -> Path:
    """Return ``path`` with a leading ``~/`` replaced by the home folder."""
    return Path(path).expanduser() if path.startswith("~/") else Path(path)
