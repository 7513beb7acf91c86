"""One command at a time on one output: a lock that the system takes away with the process that holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from mmst_cli import processes
from mmst_cli.errors import RunError, visible
from mmst_cli.shell_words import program

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

LOCK = ".mmst.lock"
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # some network file systems
_TAKEN = (errno.EACCES, errno.EAGAIN)
_held: set[Path] = set()  # by this process, to which the system would give a lock twice


@contextmanager
def claimed(place: Path, key: str, *, is_file: bool = False) -> Iterator[None]:
    """Keep other commands out of an output for as long as the context lasts.

    The folder is made if it isn't there, and is gone again afterwards if nothing was written into it. The lock is one
    of the system's (`fcntl`), so that a process that was killed is in nobody's way. Of several processes that one
    launcher started, which share an output, the first holds it for all.

    Args:
        place: the output.
        key: what names it to a user, such as `output_dir` or `--output`.
        is_file: whether it is a file, beside which the lock is; a folder, in which the lock is, if left out.

    Raises:
        RunError: another command is at work there, or nothing can be written there.
    """
    if not processes.is_first():
        yield
        return
    made: list[Path] = []
    held: IO[str] | None = None
    try:
        with _told(place, key):
            _refuse_folder(place, key) if is_file else _refuse_file(place, key)
            path = place.with_name(f".{place.name}.lock") if is_file else place / LOCK
            made += _make_folders(path.parent)
            held = _take(path, f"{key}: {visible(place)}")
        name = path.resolve()
        _held.add(name)
        try:
            yield
        finally:
            _held.discard(name)
    finally:
        if held is not None:
            path.unlink(missing_ok=True)
            held.close()
        for folder in reversed(made):
            try:
                folder.rmdir()
            except OSError:  # something was written into it
                break


@contextmanager
def all_claimed(places: Mapping[str, Path | None]) -> Iterator[None]:
    """Claim several folders, each once, by what names it to a user; those that are None are left out."""
    named = {os.path.realpath(place): (place, key) for key, place in places.items() if place is not None}
    with ExitStack() as held:
        for place, key in named.values():
            held.enter_context(claimed(place, key))
        yield


def check_writable(place: Path, key: str) -> None:
    """Check that files can be written into a folder, which need not be there yet; nothing is left there.

    Raises:
        RunError: they can't.
    """
    made: list[Path] = []
    try:
        with _told(place, key):
            _refuse_file(place, key)
            made += _make_folders(place)
            with tempfile.TemporaryFile(dir=place):
                pass
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _refuse_file(place: Path, key: str) -> None:
    if _is_file(place):
        raise RunError(f"{key}: {visible(place)} is a file; name a folder.")


def _refuse_folder(place: Path, key: str) -> None:
    if not place.name or place.is_dir():
        raise RunError(f"{key}: {visible(place)} is a folder; name a file.")


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except OSError:  # a name that none can have
        return False


def _leads_nowhere(path: Path) -> bool:
    try:
        return path.is_symlink() and not path.exists()
    except OSError:  # a name that none can have, or a link to itself
        return False


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it, and return those that weren't there, outermost first."""
    missing = [folder, *folder.parents]
    missing = [path for path in missing if not path.exists()]
    made = []
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            made.append(path)
    except OSError:
        for path in reversed(made):
            path.rmdir()
        raise
    return made


@contextmanager
def _told(place: Path, key: str) -> Iterator[None]:
    try:
        if str(place) != str(place).encode("utf-8", "replace").decode():
            raise OSError("its name holds bytes that are no text")  # Arrow and others take none
        yield
    except OSError as error:
        if link := next((path for path in (place, *place.parents) if _leads_nowhere(path)), None):
            reason = f"{link} is a link that leads nowhere"
        elif above := next((path for path in place.parents if _is_file(path)), None):
            reason = f"{above} is a file, and no folder can be in it"
        else:
            reason = (error.strerror or str(error)).lower()
        shown = visible(place) if len(str(place)) < 200 else f"{str(place)[:100]}..."
        raise RunError(f"{key}: {shown} can't be written: {reason}. Name another place.") from error


def _take(path: Path, what: str) -> IO[str]:
    """Return the lock file, open and locked, with a note of who holds it.

    Raises:
        RunError: it is taken.
    """
    if path.resolve() in _held:
        raise RunError(f"{what} is in use by this process already. Wait until it is done.")
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
        try:
            if not _lock(file):
                raise RunError(f"{what} is in use by {_holder(file)}. Wait until it ends, or name another place.")
            if not _stands_at(file, path):
                file.close()  # whoever held it took the file away just now
                continue
            try:
                _note_holder(file)
            except OSError:  # on a full disk
                path.unlink(missing_ok=True)
                raise
        except BaseException:
            file.close()
            raise
        return file


def _stands_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock(file: IO[str]) -> bool:
    if fcntl is None:
        return True
    try:
        # Of the process, not of the open file: workers forked from it don't hold it on after its death.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno not in _NO_LOCKS_HERE:
            raise
    return True


def _note_holder(file: IO[str]) -> None:
    command = " ".join([program(), *sys.argv[1:]])
    now = datetime.now().isoformat(sep=" ", timespec="seconds")
    file.truncate(0)
    file.seek(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now}, file)
    file.flush()


def _holder(file: IO[str]) -> str:
    try:
        noted: dict[str, Any] = json.load(file)
        host = "" if noted["host"] == socket.gethostname() else f" on {noted['host']}"
        return f"process {noted['pid']}{host} since {noted['since']} (`{noted['command'][:200]}`)"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just taken the lock
        return "another command"
