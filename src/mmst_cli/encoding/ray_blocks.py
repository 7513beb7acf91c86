"""What goes from stage to stage of a Ray Data pipeline: blocks of one row, numbered, with plain bytes in it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mmst_cli.inputs.items import Source
from mmst_cli.media.reading import Reader

_COLUMNS = pa.schema([("number", pa.int64()), ("content", pa.large_binary())])


def pack(number: int, content: Any, readers: Sequence[Reader] = ()) -> pa.Table:
    """Return a block.

    Args:
        number: its place among all blocks.
        content: what is in it.
        readers: those that inputs in it are read by; each process has its own, which know its model.
    """
    places = {id(reader): place for place, reader in enumerate(readers)}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> int | None:
            return places[id(value)] if isinstance(value, Reader) else None

    into = io.BytesIO()
    Pickler(into, pickle.HIGHEST_PROTOCOL).dump(content)
    return pa.table([[number], pa.array([into.getbuffer()], pa.large_binary())], schema=_COLUMNS)


def unpack(block: pa.Table, readers: Sequence[Reader] = ()) -> tuple[int, Any]:
    """Return number and content of a block, whose inputs are read by the ``readers`` of this process."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: int) -> Reader:
            return readers[place]

    content = pa.BufferReader(block["content"][0].as_buffer())
    return number_of(block), Unpickler(content).load()


def number_of(block: pa.Table) -> int:
    """Return the place of a block among all blocks."""
    return int(block["number"][0].as_py())


def readers_of(sources: Sequence[Source]) -> list[Reader]:
    """Return the readers of sources, in an order that is the same wherever these are opened."""
    return [source.reader for source in sources]
