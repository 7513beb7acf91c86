"""Clips in whatever form they come, as frames with their rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.bounds import MAX_FRAMES
from mmst_cli.media.content import find_content, show
from mmst_cli.media.frame_choice import Clip, Frame, even_times, square_pixels, take_frames
from mmst_cli.media.image import read_image
from mmst_cli.media.video_decoding import open_clip

FPS = 24.0  # of frames that come without a rate: what transformers takes them for
BLOCK_BYTES = 64 * 2**20  # of the frames that a decoder object decodes at once
FRAME_FILES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".gif")


def read_video(source: Any, settings: MediaConfig) -> dict[str, Any]:
    """Return a clip as sentence-transformers takes it: ``{"array", "video_metadata"}``.

    The array is uint8 of shape (frames, height, width, 3). The metadata make the frames that are handed over the
    whole clip: ``fps`` (theirs), ``total_num_frames``, ``duration`` in seconds and ``frames_indices``. Frames without a
    rate, as those of arrays, lists and folders, are taken for ``settings.fps``, else 24, to a second.

    Args:
        source: a path or bytes of a file (mp4, webm, mkv, mov, avi; gif, webp and png that move), a folder of frames in
            the order of the numbers in their names, a list of images, an array of shape (frames, height, width, 3),
            (frames, 3, height, width) or (frames, height, width) with whole numbers from 0 to 255,
            ``{"array", "video_metadata"}``, a VideoDecoder of torchcodec, as datasets hands it over, or anything with
            its ``metadata`` and ``get_frames_at``.
        settings: which frames are taken, and how large.

    Raises:
        DataError: it isn't there, is broken, empty, too long or no clip.
    """
    if isinstance(source, str | Path) and _is_folder(source):
        return take_frames(_clip_of_images(_frame_files(Path(source)), settings), settings)
    content = find_content(source)
    if content is not None:
        with open_clip(content, settings) as clip:
            return take_frames(clip, settings)
    if isinstance(source, Mapping):
        return _from_mapping(source, settings)
    if hasattr(source, "get_frames_at"):
        return take_frames(_clip_of_decoder(source), settings)
    if isinstance(source, Sequence) and _holds_images(source):
        return take_frames(_clip_of_images(source, settings), settings)
    return take_frames(_clip_of_array(source, settings.fps or FPS), settings)


def _is_folder(source: str | Path) -> bool:
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):
        return False


def _holds_images(values: Sequence[Any]) -> bool:
    """Tell whether a list is one of images, each of them a path, bytes or the like, and not an array in a list."""
    if not values:
        raise DataError("a video of 0 frames.")
    return isinstance(values[0], Image.Image | str | Path | bytes | dict) or numpy.ndim(values[0]) in (2, 3)


def _frame_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix.lower() in FRAME_FILES and not file.name.startswith(".")]
    if not files:
        raise DataError(f"{folder}: a video of 0 frames; a folder of frames holds images.")

    def natural(file: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", file.name)]

    return sorted(files, key=lambda file: (natural(file), file.name))


def _clip_of_images(images: Sequence[Any], settings: MediaConfig) -> Clip:
    first = _read_frame(images[0], 0)
    width, height = first.size

    def read(numbers: list[int]) -> Iterator[Frame]:
        for number in numbers:
            frame = first if number == 0 else _read_frame(images[number], number)
            if frame.size != first.size:
                raise DataError(
                    f"frame {number} has {frame.size[0]}x{frame.size[1]} pixels, but the first {width}x{height}; "
                    "the frames of a clip have one size."
                )
            yield numpy.asarray(frame)

    fps = settings.fps or FPS
    return Clip(even_times(len(images), fps), len(images) / fps, width, height, read)


def _read_frame(image: Any, number: int) -> Image.Image:
    try:
        return read_image(image)
    except DataError as error:
        raise DataError(f"frame {number}: {error}") from error


def _clip_of_decoder(decoder: Any) -> Clip:
    about = decoder.metadata
    if not about.num_frames:
        raise DataError("a video of 0 frames.")
    if about.num_frames > MAX_FRAMES:
        raise DataError(f"a video of over {MAX_FRAMES:,} frames; cut it.")
    fps = float(about.average_fps)
    size = square_pixels(about.width, about.height, getattr(about, "pixel_aspect_ratio", None) or 1)
    times = even_times(about.num_frames, fps)
    return Clip(times, about.num_frames / fps, *size, lambda numbers: _blocks(decoder, numbers))


def _blocks(decoder: Any, numbers: list[int]) -> Iterator[Frame]:
    about = decoder.metadata
    block = max(1, BLOCK_BYTES // (about.width * about.height * 3))
    for start in range(0, len(numbers), block):
        frames = decoder.get_frames_at(numbers[start : start + block]).data
        if frames.shape[-1] != 3:  # (frames, 3, height, width), as the decoder does unless told otherwise
            frames = frames.permute(0, 2, 3, 1)
        yield from frames.contiguous().numpy()


def _from_mapping(source: Mapping[Any, Any], settings: MediaConfig) -> dict[str, Any]:
    if not {"array", "video_metadata"} <= source.keys():
        raise DataError(
            f"found a mapping of {show(', '.join(map(str, source)))}, where a clip is one of array and video_metadata, "
            "or of bytes and path."
        )
    metadata = source["video_metadata"] or {}
    if not isinstance(metadata, Mapping):
        raise DataError(f"video_metadata is a mapping with fps, found {type(metadata).__name__}.")
    fps = metadata.get("fps")
    if fps is not None and not (isinstance(fps, int | float | numpy.number) and fps > 0):
        raise DataError(f"video_metadata.fps is a number of frames a second, found {fps!r}.")
    images = source["array"]
    clip = _clip_of_array(images, float(fps or settings.fps or FPS), metadata.get("frames_indices"))
    return take_frames(clip, settings)


def _clip_of_array(source: Any, fps: float, indices: Any = None) -> Clip:
    array = _four_dimensions(source)
    count, height, width, _ = array.shape
    times = even_times(count, fps)
    seconds = count / fps
    if indices is not None and len(indices) == count > 1:
        # The frames were taken out of a longer clip, and fps is that of the longer one.
        times = [(index - indices[0]) / fps for index in indices]
        seconds = times[-1] * count / (count - 1)
    return Clip(times, seconds, width, height, lambda numbers: (array[number] for number in numbers))


def _four_dimensions(source: Any) -> Frame:
    """Return an array of shape (frames, height, width, 3), whatever the order of its axes was."""
    if not isinstance(source, list | tuple) and not hasattr(source, "__array__"):
        raise DataError(f"found {type(source).__name__}, where a clip is an array, a list of images, a path or bytes.")
    try:
        array = numpy.asarray(source)
    except ValueError as error:
        raise DataError("the frames of this clip differ in size.") from error
    if array.dtype.kind == "f":
        raise DataError("frames of floats; give whole numbers from 0 to 255, as values in 0..1 would be scaled again.")
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or array.dtype.kind not in "ui":
        raise DataError(
            "a clip has shape (frames, height, width, 3), (frames, 3, height, width) or (frames, height, width) and "
            f"whole numbers from 0 to 255, found shape {array.shape} of {array.dtype}."
        )
    if array.size and (array.min() < 0 or array.max() > 255):
        raise DataError(f"the values of frames go from 0 to 255, found {array.min()} to {array.max()}.")
    array = numpy.ascontiguousarray(array, dtype=numpy.uint8)  # torch refuses arrays that run backwards
    return array if array.shape[3] == 3 else numpy.repeat(array, 3, axis=3)
