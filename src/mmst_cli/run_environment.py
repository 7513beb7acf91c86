"""What a run was begun with: versions, devices, the command, the commit of the folder it was begun in."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from mmst_cli import processes
from mmst_cli.config.schema import SECRETS
from mmst_cli.shell_words import program

PACKAGES = (
    *("mmst-cli", "sentence-transformers", "transformers", "torch"),
    *("datasets", "accelerate", "numpy", "pillow"),
)


def describe_environment(devices: Sequence[str]) -> dict[str, Any]:
    """Return versions, devices and the git commit of the working directory, as plain values."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [program(), *map(without_secret, sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "devices": list(devices),
        "processes": processes.count(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def without_secret(argument: str) -> str:
    """Return an argument of the command line without the token that it may give."""
    key, sign, _ = argument.partition("=")
    return f"{key}=***" if sign and key.rpartition(".")[2] in SECRETS else argument
