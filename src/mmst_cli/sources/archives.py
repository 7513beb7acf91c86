"""WebDataset archives: tar files in which the members of a sample share a name and differ in their ending.

The layout is that of https://github.com/webdataset/webdataset, and the reader that of `datasets`, except that media
stay encoded. That reader wants torchcodec to pass on a sound that it doesn't decode, and takes a file of the member's
name in the working directory for the member.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from tarfile import BLOCKSIZE, NUL, ReadError, TarFile
from typing import Any

from datasets import Audio, Features, Image, Value, Video
from datasets.packaged_modules.webdataset.webdataset import WebDataset

from mmst_cli.sources.text_rows import encoding_of

_ENCODED = {"bytes": Value("binary"), "path": Value("string")}
_MEDIA = (  # the first that knows an ending: the lists of `datasets` have .mpg among the images
    (Video, {*WebDataset.VIDEO_EXTENSIONS, "mpg", "m4v", "webm"}),
    (Audio, {*WebDataset.AUDIO_EXTENSIONS, "m4a", "aac"}),
    (Image, set(WebDataset.IMAGE_EXTENSIONS)),
)
_PIECE = 1 << 20  # bytes read at once behind the end of an archive


def _decode_text(content: bytes) -> str:
    return content.decode(encoding_of(content)).removeprefix("\ufeff")


class Archive(WebDataset):  # type: ignore[misc]
    """Rows of archives: a column per ending, `__key__` (the sample's name) and `__url__` (its archive).

    Texts, numbers and JSON are decoded; media are `{"bytes", "path"}`; members of another ending are bytes.
    """

    IMAGE_EXTENSIONS: list[str] = []  # noqa: RUF012 - declared so by the library
    AUDIO_EXTENSIONS: list[str] = []  # noqa: RUF012
    VIDEO_EXTENSIONS: list[str] = []  # noqa: RUF012
    MESH_EXTENSIONS: list[str] = []  # noqa: RUF012
    DECODERS = WebDataset.DECODERS | dict.fromkeys(("txt", "text", "transcript"), _decode_text)

    @classmethod
    def _get_pipeline_from_tar(cls, tar_path: Any, tar_iterator: Any) -> Iterator[dict[str, Any]]:
        name = ""

        def members() -> Iterator[tuple[str, Any]]:
            nonlocal name
            for name, file in tar_iterator:
                if name != name.encode("utf-8", "replace").decode():
                    raise ValueError("its name is not UTF-8")
                yield name, file

        try:
            yield from super()._get_pipeline_from_tar(tar_path, members())
        except ValueError as error:  # of JSON, texts and numbers, and of names that are no text
            raise ValueError(f"member {name!r}: {error}") from error

    def _split_generators(self, dl_manager: Any) -> Any:
        for paths in self.config.data_files.values():
            for path in paths:
                _check_whole(Path(path))
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


def _check_whole(path: Path) -> None:
    """Raise for an archive on this machine of which a stream would see only the beginning, as if that were all.

    Raises:
        ReadError: it was cut off, is damaged, or another one was appended to it.
    """
    if not path.is_file():  # an address
        return
    with path.open("rb") as file:
        try:
            archive = TarFile(fileobj=file)
            while archive.next():
                archive.members.clear()  # type: ignore[attr-defined]
        except ReadError as error:
            raise ReadError(f"{path.name} was cut off, or is no tar file ({error})") from error
        file.seek(archive.offset)
        if len(end := file.read(BLOCKSIZE)) < BLOCKSIZE:
            raise ReadError(f"{path.name} was cut off")
        if any(piece.strip(NUL) for piece in chain([end], iter(partial(file.read, _PIECE), b""))):
            raise ReadError(
                f"{path.name} goes on behind byte {archive.offset:,}, where its members seem to end: it is damaged"
                " there, or another was appended to it (which `tar --concatenate` does so that both are read)"
            )


def _declare_media(rows: Any) -> Any:
    for name in rows.column_names:
        if (feature := media_feature(name)) is not None:
            rows = rows.cast_column(name, feature)
    return rows
