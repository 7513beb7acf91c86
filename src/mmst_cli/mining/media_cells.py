"""Media in the cells of a new file: by reference, each embedded one written once beside it, or in the cells."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import xxhash

from mmst_cli.config.chat_templates import MEDIA
from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.content import URL_SCHEMES, ending_of, head_of
from mmst_cli.media.pdf import names_pdf, split_page
from mmst_cli.media.reading import Reader
from mmst_cli.rows.stored_cells import parse_json
from mmst_cli.storage import whole_file

_ENDING = re.compile(r"\.[a-z0-9]{1,5}")  # and no rest of an address


class MediaCells:
    """Turns the cells of a source into those of a new file.

    Args:
        folder: where the new file is.
        media: the folder for media that are embedded in the source.
        reader: says where the source's paths lead.
        embed: put all media into the cells.
    """

    def __init__(self, folder: Path, media: Path, reader: Reader, *, embed: bool) -> None:
        self.folder, self.media, self.embed = Path(os.path.abspath(folder)), media, embed  # noqa: PTH100
        self.reader = copy(reader)
        self.reader.shrink = None  # images are kept whole

    def feature(self, feature: Any, modality: Modality) -> Any:
        """Return the type of a column whose cells are turned."""
        if isinstance(feature, dict):
            return {name: self._inner_feature(name, one, modality, feature) for name, one in feature.items()}
        kind, inner = type(feature).__name__, getattr(feature, "feature", None)
        if kind in ("List", "LargeList") and inner is not None:
            return type(feature)(self.feature(inner, modality))
        dtype = getattr(feature, "dtype", None)
        is_name = dtype in ("string", "large_string") and self.embed
        if modality in MEDIA and (is_name or dtype in ("binary", "large_binary")):
            return _media_feature(modality)
        return feature

    def _inner_feature(self, name: str, feature: Any, modality: Modality, beside: Mapping[str, Any]) -> Any:
        if modality in MEDIA and beside.keys() <= {"bytes", "path"}:
            return feature
        return self.feature(feature, Modality(name) if name in MEDIA else _outside(modality))

    def cell(self, modality: Modality, value: Any) -> Any:
        """Return a cell with its media turned; what is no medium stays as it is.

        Raises:
            DataError: a medium can't be embedded.
        """
        if modality is Modality.message and isinstance(value, str):
            return self._json(value)
        if isinstance(value, Mapping):
            if modality in MEDIA and value.keys() <= {"bytes", "path"}:
                return self._stored(modality, value)
            return {
                name: self.cell(Modality(name) if name in MEDIA else _outside(modality), entry)
                for name, entry in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.cell(modality, entry) for entry in value]
        if modality not in MEDIA or not isinstance(value, str | bytes):
            return value
        if isinstance(value, bytes):
            return self._stored(modality, {"bytes": value, "path": None})
        return self._stored(modality, {"bytes": None, "path": value}) if self.embed else self.refer(value)

    def refer(self, name: str) -> str:
        """Return a path that leads to a file of the source from the new file: relative below it, else absolute."""
        if name.startswith(URL_SCHEMES):
            return name
        place = Path(os.path.abspath(str(self.reader.locate(name))))  # noqa: PTH100 - links stay as they are
        return place.relative_to(self.folder).as_posix() if place.is_relative_to(self.folder) else str(place)

    def _stored(self, modality: Modality, value: Mapping[str, Any]) -> dict[str, Any] | None:
        content, name = value.get("bytes"), value.get("path")
        if content is None and name is None:
            return None
        if self.embed:
            content = self._content(modality, str(name)) if content is None else content
            return {"bytes": content, "path": Path(name).name if name else None}
        if content is None:
            return {"bytes": None, "path": self.refer(str(name))}
        return {"bytes": None, "path": self._write(content, name)}

    def _write(self, content: bytes, name: str | None) -> str:
        """Write a medium under a name that its content has, once."""
        ending = Path(name).suffix.lower() if name else ""
        ending = ending if _ENDING.fullmatch(ending) else ending_of(head_of(content)) or ".bin"
        path = self.media / f"{xxhash.xxh3_128_hexdigest(content)}{ending}"
        if not path.is_file():
            with whole_file(path) as partial:
                partial.write_bytes(content)
        return f"{self.media.name}/{path.name}"

    def _content(self, modality: Modality, name: str) -> bytes:
        place = str(self.reader.locate(name))
        if names_pdf(place) and split_page(place)[1] is not None:
            file = io.BytesIO()
            self.reader.read(modality, name).save(file, "PNG")
            return file.getvalue()
        if Path(place).is_dir():
            raise DataError(f"{name}: a folder of frames can't be put into a cell. Leave --embed-media out.")
        return Path(place).read_bytes()

    def _json(self, value: str) -> str:
        """Return a chat in JSON, whose media can only be named."""
        chat = parse_json(value)
        if chat == value:
            return value
        turned = self.cell(Modality.message, chat)
        if turned == chat:
            return value
        if self.embed:
            raise DataError("media in chats that are JSON text can't be put into a cell. Leave --embed-media out.")
        return json.dumps(turned, ensure_ascii=False)


def _outside(modality: Modality) -> Modality:
    """Return what holds for the other entries of a mapping: a text beside media is no file."""
    return modality if modality in (Modality.message, Modality.mixed) else Modality.mixed


def _media_feature(modality: Modality) -> Any:
    from datasets import Audio, Image, Video

    return {Modality.image: Image, Modality.audio: Audio, Modality.video: Video}[modality]()
