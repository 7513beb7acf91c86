"""What metrics.jsonl says of where the time of a run went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

KINDS = ("data", "copy", "forward", "backward", "mining", "evaluation", "saving", "other")
"""The keys of ``seconds`` in a line: what was done since the line before it."""
WORDS = {"data": "waiting for data", "copy": "copying"}
WORTH_SAYING = 0.005


def add_up(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds by kind of all lines of metrics.jsonl; empty where none has any."""
    found = [line["seconds"] for line in lines if isinstance(line.get("seconds"), dict)]
    return {kind: sum(float(one.get(kind, 0.0)) for one in found) for kind in KINDS} if found else {}


def in_shares(seconds: Mapping[str, float]) -> str:
    """Return what share each kind has of the time, in words, without those that have next to none."""
    whole = sum(seconds.values())
    shares = {kind: spent / whole for kind, spent in seconds.items()} if whole else {}
    return ", ".join(f"{WORDS.get(kind, kind)} {share:.0%}" for kind, share in shares.items() if share >= WORTH_SAYING)
