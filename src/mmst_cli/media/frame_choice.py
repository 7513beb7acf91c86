"""Which frames are taken of a clip, and how they are scaled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from PIL import Image

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.bounds import check_clip, check_size

Frame = numpy.ndarray[Any, Any]  # uint8 of shape (height, width, 3)
SLACK = 1e-6  # seconds by which two decoders may differ about the same moment


@dataclass(frozen=True)
class Clip:
    """A clip whose frames aren't decoded yet."""

    times: Sequence[float]
    """When each frame begins, in seconds from the first."""
    seconds: float
    """How long it is."""
    width: int
    """As it is shown, in square pixels."""
    height: int
    """As it is shown, in square pixels."""
    read: Callable[[list[int]], Iterator[Frame]]
    """Decodes the frames with the given numbers, which rise, in whatever size they are stored."""

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return len(self.times) / self.seconds


def even_times(count: int, fps: float) -> list[float]:
    """Return the beginnings of ``count`` frames at a constant rate, in seconds."""
    return [number / fps for number in range(count)]


def take_frames(clip: Clip, settings: MediaConfig) -> dict[str, Any]:
    """Return the chosen frames of a clip as sentence-transformers takes a video.

    Frames of more than ``max_pixels`` are scaled down by Pillow's Lanczos filter, keeping their aspect ratio.

    Args:
        clip: the clip.
        settings: ``fps``, ``max_frames``, ``max_seconds`` and ``max_pixels``.

    Returns:
        ``array``: uint8 of shape (frames, height, width, 3); ``video_metadata``: the frames themselves are the clip for
        the processor: ``fps`` is theirs, ``total_num_frames`` their number, ``duration`` how long they are shown in
        seconds, and ``frames_indices`` counts them.

    Raises:
        DataError: there are no frames, too many, or some are broken.
    """
    check_size(clip.width, clip.height, what="frames")
    if not len(clip.times):
        raise DataError("a video of 0 frames.")
    numbers, fps = choose_frames(clip, settings)
    width, height = fit_size(clip.width, clip.height, settings.max_pixels)
    check_clip(len(numbers), width, height, clip.seconds)
    distinct = sorted(set(numbers))
    array = numpy.empty((len(distinct), height, width, 3), dtype=numpy.uint8)
    read = 0
    for frame in clip.read(distinct):
        array[read] = _scale(frame, width, height)
        read += 1
    if read < len(distinct):
        raise DataError(f"the video breaks off after {read} of the {len(distinct)} frames that were to be read.")
    if len(distinct) < len(numbers):
        array = array[numpy.searchsorted(distinct, numbers)]
    return {"array": array, "video_metadata": whole_clip(len(numbers), fps)}


def whole_clip(frames: int, fps: float) -> dict[str, Any]:
    """Return what processors are told of a clip whose frames are all handed over.

    Some sample by ``duration`` (EmbeddingGemma 2, SmolVLM) and keep every frame, or fail, where it is missing.

    Args:
        frames: how many there are.
        fps: how many are shown in a second.
    """
    return {"fps": fps, "total_num_frames": frames, "duration": frames / fps, "frames_indices": list(range(frames))}


def show_on(video: dict[str, Any], least: int) -> dict[str, Any]:
    """Return a video of :func:`take_frames` whose last frame is repeated until it has ``least`` frames."""
    frames = video["array"]
    missing = least - len(frames)
    if missing <= 0:
        return video
    array = numpy.concatenate([frames, numpy.repeat(frames[-1:], missing, axis=0)])
    return {"array": array, "video_metadata": whole_clip(least, video["video_metadata"]["fps"])}


def choose_frames(clip: Clip, settings: MediaConfig) -> tuple[list[int], float]:
    """Return the numbers of the frames to take and how many of them there are to a second.

    With ``fps`` these are the frames nearest to 0, 1 / fps, 2 / fps, ..., the earlier one of two that are as near; all
    frames if the clip has no more to a second. Of these, ``max_frames`` are taken evenly, from the first to the last.
    """
    times = numpy.asarray(clip.times)
    seconds = min(clip.seconds, settings.max_seconds or math.inf)
    count = max(1, int(numpy.searchsorted(times, seconds - SLACK)))
    numbers, fps = list(range(count)), clip.fps
    if count < len(times):  # where frames aren't even, the beginning has a rate of its own
        times, fps = times[:count], count / float(times[count])
    if settings.fps is not None and settings.fps < fps - SLACK:
        fps = float(settings.fps)
        moments = numpy.arange(max(1, math.ceil((seconds - SLACK) * fps))) / fps
        numbers = numpy.searchsorted((times[1:] + times[:-1]) / 2, moments - SLACK).tolist()
    if settings.max_frames is not None and settings.max_frames < len(numbers):
        kept = numpy.linspace(0, len(numbers) - 1, settings.max_frames).round().astype(int)
        fps = fps * (len(kept) - 1) / (len(numbers) - 1) if len(kept) > 1 else 1 / seconds
        numbers = [numbers[position] for position in kept]
    return numbers, fps


def square_pixels(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Return the width and height at which a frame of stretched pixels is shown in square ones.

    As browsers do, the side that is too short grows. Up to 1 % is left, which nobody sees and encoders leave behind.

    Args:
        width: in pixels, as stored.
        height: in pixels, as stored.
        aspect: of one pixel, width by height.
    """
    if abs(aspect - 1) <= 0.01:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def fit_size(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    """Return the width and height, in pixels, scaled down to ``max_pixels`` in all where they are more."""
    if max_pixels is None or width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def _scale(frame: Frame, width: int, height: int) -> Frame:
    if frame.shape[:2] == (height, width):
        return frame
    return numpy.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS))
