"""Rows elsewhere: `s3://`, `gs://`, `hf://` and whatever else fsspec has a driver for.

Credentials and options are fsspec's own: what the driver finds in the environment, `FSSPEC_S3_ENDPOINT_URL` and the
like, and the files in `~/.config/fsspec`.
"""

from __future__ import annotations

import glob
from typing import Any

from mmst_cli.errors import DataError, did_you_mean, first_line, visible

_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}


def is_remote(path: str) -> bool:
    """Whether a path is an address, with a protocol other than ``file``."""
    return "://" in path and not path.startswith("file://")


def find_remote_files(at: str, path: str) -> tuple[list[str], bool]:
    """Return the addresses that an address or pattern stands for, sorted, and whether their versions can be told.

    Where they can't, a copy that was downloaded earlier may be an older one.

    Raises:
        DataError: no driver for the protocol, nothing there, a folder, or no access.
    """
    system, place = _connect(at, path)
    try:
        if glob.has_magic(path):
            found = {name: facts for name, facts in system.glob(place, detail=True).items() if facts["type"] == "file"}
        else:
            found = {place: system.info(place)}
    except FileNotFoundError:
        found = {}
    except PermissionError as error:
        raise DataError(
            f"{at}.path: {path}: access refused ({first_line(error)}). Give credentials the way its driver"
            " looks for them, by environment variables or its own configuration."
        ) from error
    except Exception as error:  # every driver raises its own
        raise DataError(f"{at}.path: {path} can't be reached: {type(error).__name__}: {first_line(error)}") from error
    if not found:
        raise DataError(f"{at}.path: {visible(path)}: {'matches no file' if glob.has_magic(path) else 'no such file'}.")
    if any(facts["type"] == "directory" for facts in found.values()):
        raise DataError(f"{at}.path: {path}: a folder. Write a pattern for its files: {path.rstrip('/')}/*.parquet.")
    versioned = path.startswith("hf://") or all({"ETag", "etag"} & set(facts) for facts in found.values())
    return [system.unstrip_protocol(name) for name in sorted(found)], versioned


def _connect(at: str, path: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]
    from fsspec.registry import available_protocols  # type: ignore[import-untyped]

    protocol = path.partition("://")[0]
    try:
        system, place = url_to_fs(path)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        how = f"`pip install {package}`" if package else first_line(error)
        raise DataError(f"{at}.path: {path}: {protocol}:// needs a package that isn't installed: {how}.") from error
    except ValueError as error:
        raise DataError(
            f"{at}.path: {path}: {first_line(error)}.{did_you_mean(protocol, available_protocols())}"
        ) from error
    except Exception as error:  # every driver raises its own
        raise DataError(f"{at}.path: {path} can't be reached: {type(error).__name__}: {first_line(error)}") from error
    return system, place
