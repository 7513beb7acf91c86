"""One value of a column, a cell or the command line, read into the input of a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import DataError, did_you_mean
from mmst_cli.media.audio import read_audio
from mmst_cli.media.content import URL_SCHEMES, fetch, show
from mmst_cli.media.frame_choice import show_on
from mmst_cli.media.image import Seen, read_image
from mmst_cli.media.input_digest import keep_digest
from mmst_cli.media.input_errors import as_data_error
from mmst_cli.media.message import PARTS, read_message
from mmst_cli.media.prepared_images import PreparedImages
from mmst_cli.media.video import read_video
from mmst_cli.storage import expand_home

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")


class Reader:
    """Reads values into model inputs, all of them with the same settings.

    Args:
        settings: how media are read.
        folder: what relative paths are relative to.
        allow_urls: fetch media that are given as http(s) addresses, into the cache; refused otherwise.
        sampling_rate: what the model wants sounds at, in Hz; the sounds' own if left out.
    """

    def __init__(
        self, settings: MediaConfig, folder: Path, allow_urls: bool = False, sampling_rate: int | None = None
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.allow_urls = allow_urls
        self.sampling_rate = sampling_rate
        self.least_frames = 1
        """Frames of a clip that the model takes at a time; of a shorter clip the last one is shown on."""
        self.shrink: Callable[[Image.Image], Image.Image] | None = None
        """Scales large images as the model's processor will, so that few bytes are held of them."""
        self.names_whole = True
        """Whether a scaled image has the name of the whole one, for who compares inputs by their content."""
        self.seen: Seen | None = None
        """At which size the model sees an image, for those that are decoded at a size not much larger."""
        self.prepared: PreparedImages | None = None
        """Images that were read and scaled before."""

    def read(self, modality: Modality, value: Any) -> Any:
        """Return ``value`` as sentence-transformers takes it.

        Returns:
            text: ``{"text": ...}``, which can't be taken for a path; image: an RGB PIL image; audio:
            ``{"array", "sampling_rate"}``; video: ``{"array", "video_metadata"}``; message: a list of messages; mixed:
            a mapping of these by modality, with text as a plain string.

        Raises:
            DataError: the value is missing, broken or of another kind, whatever the library that decodes it raises.
                Says nothing of where it was found.
        """
        if value is None:
            raise DataError(f"there is no {modality} here: the value is empty.")
        with as_data_error(f"the {modality} can't be read"):
            return self._read(modality, value)

    def _read(self, modality: Modality, value: Any) -> Any:
        match modality:
            case Modality.text:
                return {"text": _check_text(value)}
            case Modality.image:
                located = self.locate(value)
                make = partial(self._scaled, located)
                return make() if self.prepared is None else self.prepared.read(located, make)
            case Modality.audio:
                return read_audio(self.locate(value), self.settings, self.sampling_rate)
            case Modality.video:
                return show_on(read_video(self.locate(value), self.settings), self.least_frames)
            case Modality.message:
                return read_message(value, self.read_part)
            case Modality.mixed:
                return self._read_mixed(value)

    def _scaled(self, located: Any) -> Image.Image:
        image = read_image(located, dpi=self.settings.dpi, seen=self.seen)
        smaller = self.shrink(image) if self.shrink else image
        return smaller if smaller is image or not self.names_whole else keep_digest(image, smaller)

    def read_part(self, modality: Modality, value: Any) -> Any:
        """Return one part of an input of several: as :meth:`read`, but text is a plain string."""
        return _check_text(value) if modality is Modality.text else self.read(modality, value)

    def locate(self, value: Any) -> Any:
        """Return ``value`` with its paths made absolute and its addresses fetched, also those within lists.

        Raises:
            DataError: an address is refused or can't be fetched.
        """
        if isinstance(value, str):
            if value.startswith(URL_SCHEMES):
                return fetch(value, self.allow_urls)
            if _SCHEME.match(value):
                raise DataError(f"{show(value)}: media are read from files and http(s) addresses.")
            return str(self.folder / expand_home(value))
        if isinstance(value, Path):
            return self.folder / value
        if isinstance(value, list | tuple) and value and isinstance(value[0], str | Path | dict):
            return [self.locate(entry) for entry in value]
        if isinstance(value, dict) and value.keys() <= {"bytes", "path"} and value.get("bytes") is None:
            path = value.get("path")
            return value if path is None else self.locate(path)
        return value

    def _read_mixed(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise DataError(f"a mixed input is a mapping of modalities to values, found {type(value).__name__}.")
        for key in value:
            if key not in PARTS:
                raise DataError(
                    f"a mixed input holds {', '.join(PARTS)}; found {show(key)}.{did_you_mean(str(key), PARTS)}"
                )
        present = {key: part for key, part in value.items() if part is not None}
        if not present:
            raise DataError("all parts of this mixed input are empty.")
        parts = {}
        for key, part in present.items():
            try:
                parts[key] = self.read_part(Modality(key), part)
            except DataError as error:
                raise DataError(f"{key}: {error}") from error
        return parts


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"text is a string, found {show(value)} ({type(value).__name__}).")
    return value
