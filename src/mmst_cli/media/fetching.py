"""Media given as http(s) addresses: downloaded into the cache, once, and only where the config allows it."""

from __future__ import annotations

import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote

from mmst_cli.errors import DataError
from mmst_cli.media.content import reason, show
from mmst_cli.storage import cache_folder, digest

URL_SCHEMES = ("http://", "https://")
MAX_DOWNLOAD = 100 * 2**20  # bytes of one fetched file
TIMEOUT = 30  # seconds without an answer


def fetch(url: str, allow_urls: bool) -> Path:
    """Return the file of an address, downloading it unless the cache has it.

    Args:
        url: an http(s) address.
        allow_urls: whether anything may be fetched.

    Raises:
        DataError: fetching is not allowed, it failed, or the file is over ``MAX_DOWNLOAD``.
    """
    if not allow_urls:
        raise DataError(
            f"found the address {show(url)}, and nothing is fetched unless the dataset says allow_urls: true."
        )
    target = cache_folder() / "media" / digest(url)
    if target.is_file():
        return target
    try:
        # As a browser does, let an address hold spaces and letters beyond ASCII.
        with urllib.request.urlopen(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), timeout=TIMEOUT) as answer:
            content = answer.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(f"{show(url)} can't be fetched: {reason(error)}.") from error
    if len(content) > MAX_DOWNLOAD:
        raise DataError(f"{show(url)} is over {MAX_DOWNLOAD // 2**20} MiB.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(target)
    return target
