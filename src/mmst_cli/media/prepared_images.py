"""Images that were decoded and scaled once, losslessly, kept in the cache by the content they were made of.

A folder of Arrow files, one for each set of settings that decides what is made of an image; they are memory-mapped, so
that all processes share them, and each is written whole by the process that made its images.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import xxhash
from PIL import Image

from mmst_cli.cached import PREPARED
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.input_digest import digest_of_whole, name_as_whole
from mmst_cli.media.pdf import split_page
from mmst_cli.storage import cache_folder, whole_file

_CODEC = "zstd"
_SCHEMA = pa.schema(
    {
        "key": pa.binary(16),
        "digest": pa.binary(16),
        "width": pa.int32(),
        "height": pa.int32(),
        "pixels": pa.large_binary(),
    }
)


class Made(NamedTuple):
    """An image as it is kept."""

    key: bytes
    digest: bytes | None
    """What names the image that it was scaled down from, by its decoded content."""
    width: int
    height: int
    pixels: bytes
    """RGB, compressed."""


class PreparedImages:
    """The images of one set of settings. It can be pickled, and forked processes share what it has mapped.

    Args:
        settings: what decides what is made of an image, digested.
        dpi: resolution at which pages of documents are drawn.
    """

    def __init__(self, settings: str, dpi: int) -> None:
        self.folder = cache_folder() / PREPARED / settings
        self._dpi = dpi
        self._tables: list[pa.Table] = []
        self._opened: set[Path] = set()
        self._places: dict[bytes, tuple[int, int]] = {}
        self._made: list[Made] | None = None
        self.open()

    def __reduce__(self) -> tuple[Any, ...]:
        return PreparedImages, (self.folder.name, self._dpi)

    def __len__(self) -> int:
        return len(self._places)

    def open(self) -> None:
        """Map the files that are there and weren't yet."""
        for path in sorted(set(self.folder.glob("*.arrow")) - self._opened):
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source).read_all()
            os.utime(path)  # what was not used for long goes first
            keys = table.column("key").to_pylist()
            self._places.update((key, (len(self._tables), row)) for row, key in enumerate(keys))
            self._tables.append(table)
            self._opened.add(path)

    def read(self, value: Any, make: Callable[[], Image.Image]) -> Image.Image:
        """Return what was made of a value, or make it.

        Args:
            value: a file's path, or a mapping of its bytes, as cells hold them; of anything else nothing is kept.
            make: reads the value, and scales it.
        """
        key = self._key(value)
        if key is not None and key in self._places:
            return _BLANK if self._made is not None else self._stored(key)
        image = make()
        if key is not None and self._made is not None:
            pixels = pa.compress(image.tobytes(), codec=_CODEC, asbytes=True)
            self._made.append(Made(key, digest_of_whole(image), image.width, image.height, pixels))
        return image

    @contextmanager
    def collecting(self) -> Iterator[list[Made]]:
        """Give a list that takes what is made of images that aren't kept yet; the others are not even read."""
        self._made = []
        try:
            yield self._made
        finally:
            self._made = None

    def keep(self, made: list[Made]) -> int:
        """Write images into a file of their own, and return its bytes; nothing of none."""
        if not made:
            return 0
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{uuid.uuid4().hex}.arrow"
        columns = [pa.array(values, field.type) for values, field in zip(zip(*made, strict=True), _SCHEMA, strict=True)]
        with whole_file(path) as partial, pa.ipc.new_file(str(partial), _SCHEMA) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))
        return path.stat().st_size

    def _key(self, value: Any) -> bytes | None:
        """Return what names the content of a value, and the page of it that is meant; None where nothing is kept."""
        page: int | None = None
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            content = xxhash.xxh3_128_digest(value["bytes"])
        elif isinstance(value, str | Path):
            path, page = split_page(value)
            content = stamp_of_file(Path(path))
        else:
            return None
        return xxhash.xxh3_128_digest(content + f"{page} {self._dpi}".encode()) if content else None

    def _stored(self, key: bytes) -> Image.Image:
        number, row = self._places[key]
        found = self._tables[number].slice(row, 1).to_pylist()[0]
        size = found["width"], found["height"]
        pixels = pa.decompress(found["pixels"], 3 * size[0] * size[1], codec=_CODEC, asbytes=True)
        return name_as_whole(Image.frombytes("RGB", size, pixels), found["digest"])


_BLANK = Image.new("RGB", (1, 1))
