"""Media inside of mappings and chats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmst_cli.config.schema import Modality
from mmst_cli.rows.chat_templates import MEDIA

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 200  # rows whose stored content is held at a time


def nested_media(rows: Dataset, name: str) -> Iterator[tuple[int, Modality, str | bytes]]:
    """Yield (row, modality, path or content) of the media inside of mappings and chats."""
    row = 0
    for batch in rows.select_columns([name]).iter(batch_size=BATCH):
        for cell in batch[name]:
            for modality, value in _walk(parse_json(cell)):
                if isinstance(value, Mapping):
                    value = value.get("path") if value.get("bytes") is None else value["bytes"]
                if isinstance(value, str | bytes):
                    yield row, modality, value
            row += 1


def _walk(value: Any) -> Iterator[tuple[Modality, Any]]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            if name in MEDIA:
                yield from ((Modality(name), one) for one in (entry if isinstance(entry, list) else [entry]))
            else:
                yield from _walk(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _walk(entry)


def parse_json(cell: Any) -> Any:
    """Return what a cell holds that may be JSON; the cell where it isn't, for reading it to say so."""
    try:
        return json.loads(cell) if isinstance(cell, str) else cell
    except ValueError:
        return cell
