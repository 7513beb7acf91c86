"""Put on PYTHONPATH, this keeps a Python process on loopback and writes down what it would reach elsewhere.

The file is the one that LOOPBACK_LOG names; it is not made while nothing is asked for.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any

_resolve = socket.getaddrinfo


def _is_loopback(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    return name in ("", "localhost", "::1", "0.0.0.0", socket.gethostname()) or name.startswith("127.")


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_loopback(host):
        with Path(os.environ["LOOPBACK_LOG"]).open("a") as file:
            file.write(f"{event} {host}\n")
        raise OSError(f"{event}: {host} is not on loopback")


def _resolve_the_dataset_viewer(host: Any, *arguments: Any, **keywords: Any) -> Any:
    """Find the dataset viewer where the hub is: datasets makes its name from the hub's, datasets-server.<hub>."""
    if str(host).endswith(".127.0.0.1"):
        host = "127.0.0.1"
    return _resolve(host, *arguments, **keywords)


sys.addaudithook(_watch)
socket.getaddrinfo = _resolve_the_dataset_viewer
