"""Files as this project writes them: under a temporary name first, renamed when whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from mmst_cli.errors import ConfigError, MmstError, WorkError

_FAULTS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed",
    errno.EROFS: "the file system can only be read",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOTDIR: "there is a file in the place of a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the disk gives an input/output error",
}
_ROOM = 2**28  # bytes; where more is free, another disk is full
_CUT_OFF = (  # torch twice, NumPy and FAISS
    *("inline_container", "PytorchStreamWriter", r"requested and \d+ written", r"faiss::write_index.*write error"),
)


def disk_fault(error: BaseException, place: Path | None = None) -> str | None:
    """Return in a sentence what a disk or a folder refused, or None where an error is about something else.

    Safetensors, torch and NumPy have errors of their own for it, with the system's number in their text or nowhere.

    Args:
        error: what was raised; what it was raised from is looked at too.
        place: where was being written, for errors that don't say it.
    """
    seen: BaseException | None = error
    while seen is not None:
        said = re.search(r"\(os error (\d+)\)|\[[Ee]rrno (\d+)\]", str(seen))
        number = seen.errno if isinstance(seen, OSError) else int(said[1] or said[2]) if said else None
        reason = _FAULTS.get(number) if number is not None else None
        if isinstance(seen, RuntimeError | OSError) and any(re.search(name, str(seen)) for name in _CUT_OFF):
            reason = "the file could not be written to its end, as on a full disk"
        if reason is not None:
            named = getattr(seen, "filename", None)
            where = os.fsdecode(named) if isinstance(named, str | bytes) else getattr(seen, "written_to", None)
            if where is None and place is not None and number == errno.ENOSPC and _room(place) > _ROOM:
                return (
                    f"a disk is full; {place} has room: look at {tempfile.gettempdir()} (TMPDIR), and at inodes (df -i)"
                )
            where = where or place
            return f"{where}: {reason}{_free(Path(where), number)}" if where is not None else reason
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _free(place: Path, number: int | None) -> str:
    return f" ({_room(place) / 1e6:,.1f} MB free now)" if number in (errno.ENOSPC, None) else ""


def _room(place: Path) -> int:
    """Return how many bytes are free where a file or folder is, or would be."""
    return shutil.disk_usage(
        next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())
    ).free


@contextmanager
def told_of_disk(place: Path, then: str = "") -> Iterator[None]:
    """Turn what a disk or folder refuses into an error that says so.

    Args:
        place: where is being written, for errors that don't say it.
        then: a sentence about what to do.

    Raises:
        WorkError: something couldn't be written or read.
    """
    try:
        yield
    except MmstError:
        raise
    except Exception as error:
        if (fault := disk_fault(error, place)) is None:
            raise
        raise WorkError(f"{fault}. {then}".strip()) from error


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Note in an error where was being written, which most libraries don't say; :func:`disk_fault` reads it."""
    try:
        yield
    except Exception as error:
        error.written_to = path  # type: ignore[attr-defined]
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give another name beside ``path`` to write under; the file takes its own once it is whole.

    A reader sees the old file or the new one, never half of it, and what fails on the way leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _naming(path):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write ``text`` to ``path``, as :func:`whole_file` does; bytes of a file's name that are no text are escaped."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path


def write_json(path: Path, value: Any) -> Path:
    """Write ``value`` as indented JSON, as :func:`write_text` does."""
    return write_text(path, json.dumps(in_json(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; an empty one where none can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def append_line(path: Path, record: dict[str, Any]) -> None:
    """Append ``record`` to a ``.jsonl`` file as one line."""
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps(in_json(record), ensure_ascii=False) + "\n")


def in_json(value: Any) -> Any:
    """Return ``value`` as JSON has it: null for NaN and infinity, which most readers refuse a file for."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def cache_folder() -> Path:
    """Return where generated models and datasets are kept: ``$MMST_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("MMST_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmst"


def build_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """Return ``target``, filled by ``build`` if it isn't there yet.

    ``build`` gets a temporary folder beside ``target`` that takes its name once it is whole, so that two
    processes, or a killed one, never leave half a folder behind.

    Raises:
        ConfigError: nothing can be written beside it.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent)
    except PermissionError as error:
        raise ConfigError(
            f"{target.parent} can't be written: permission denied. Set MMST_CACHE to a folder that can be."
        ) from error
    with place as temporary:
        whole = Path(temporary) / "whole"
        whole.mkdir()
        with _naming(target):
            build(whole)
        try:
            whole.rename(target)
        except OSError:  # another process finished the same content first
            if not target.is_dir():
                raise
    return target


def replace_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder under a temporary name and put it in the place of ``target``, or of what that is a link to."""
    place = target.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        build(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    old = _old_of(place)
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    partial.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    return target


def bring_back_replaced(target: Path) -> None:
    """Bring back what :func:`replace_folder` had moved aside when it was killed, into a folder where nothing is."""
    old = _old_of(target.resolve())
    if old.is_dir():
        for entry in old.iterdir():
            entry.rename(target / entry.name)
        old.rmdir()


def _old_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def closed_to_us(folder: Path) -> Path | None:
    """Return a folder, or a file in it, that this user has no right to read; None if there is none."""
    needed = os.R_OK | os.X_OK
    paths = (folder, *folder.rglob("*"))
    return next((path for path in paths if not os.access(path, needed if path.is_dir() else os.R_OK)), None)


def digest(*parts: Any) -> str:
    """Return 16 hexadecimal digits that name the given values by content."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def quick_digest_of_file(path: Path) -> str:
    """Return 32 hexadecimal digits that tell whether a file is as it was, at the speed it can be read with."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def expand_home(path: str) -> Path:
    """Return ``path`` with a leading ``~`` or ``~user`` replaced by that home folder, as libraries have it too."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user
        return Path(path)
