"""WebDataset archives: tar files in which the members of a sample share a name and differ in their ending.

The layout is that of https://github.com/webdataset/webdataset, and the reader that of `datasets`, except that media
stay encoded. That reader wants torchcodec to pass on a sound that it doesn't decode, and takes a file of the member's
name in the working directory for the member.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tarfile import BLOCKSIZE, NUL, ReadError
from typing import Any

from datasets import Audio, Features, Image, Value, Video
from datasets.packaged_modules.webdataset.webdataset import WebDataset

_ENCODED = {"bytes": Value("binary"), "path": Value("string")}
_MEDIA = (  # the first that knows an ending: the lists of `datasets` have .mpg among the images
    (Video, {*WebDataset.VIDEO_EXTENSIONS, "mpg", "m4v", "webm"}),
    (Audio, {*WebDataset.AUDIO_EXTENSIONS, "m4a", "aac"}),
    (Image, set(WebDataset.IMAGE_EXTENSIONS)),
)


class Archive(WebDataset):  # type: ignore[misc]
    """Rows of archives: a column per ending, `__key__` (the sample's name) and `__url__` (its archive).

    Texts, numbers and JSON are decoded; media are `{"bytes", "path"}`; members of another ending are bytes.
    """

    IMAGE_EXTENSIONS: list[str] = []  # noqa: RUF012 - declared so by the library
    AUDIO_EXTENSIONS: list[str] = []  # noqa: RUF012
    VIDEO_EXTENSIONS: list[str] = []  # noqa: RUF012
    MESH_EXTENSIONS: list[str] = []  # noqa: RUF012

    def _split_generators(self, dl_manager: Any) -> Any:
        for paths in self.config.data_files.values():
            for path in paths:
                _check_end(Path(path))
        splits = super()._split_generators(dl_manager)
        features = self.info.features
        self.info.features = Features(
            {name: _ENCODED if media_feature(name) else feature for name, feature in features.items()}
        )
        return splits

    def _generate_examples(self, *arguments: Any, **keywords: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        media = [name for name in self.info.features if media_feature(name)]
        for key, example in super()._generate_examples(*arguments, **keywords):
            for name in media:
                content = example[name]
                path = f"{example['__key__']}.{name}"
                example[name] = None if content is None else {"bytes": content, "path": path}
            yield key, example

    def as_dataset(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the rows, their media with the features Image, Audio and Video, not decoded."""
        return _declare_media(super().as_dataset(*arguments, **keywords))

    def as_streaming_dataset(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the rows as a stream, with the same features."""
        return _declare_media(super().as_streaming_dataset(*arguments, **keywords))


def media_feature(name: str) -> Any:
    """Return the feature for members of this ending, not decoding; None if they are no media."""
    ending = name.rsplit(".", 1)[-1].lower()
    return next((feature(decode=False) for feature, endings in _MEDIA if ending in endings), None)


def _check_end(path: Path) -> None:
    """Raise for an archive on this machine that was cut off: read in a stream, it just seems to hold less.

    Raises:
        ReadError: it doesn't end in a block of zeros, as every tar file does.
    """
    if not path.is_file():  # an address
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - BLOCKSIZE))
        if file.read() != NUL * BLOCKSIZE:
            raise ReadError(f"{path.name} was cut off, or is no tar file")


def _declare_media(rows: Any) -> Any:
    for name in rows.column_names:
        if (feature := media_feature(name)) is not None:
            rows = rows.cast_column(name, feature)
    return rows
