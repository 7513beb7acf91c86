"""Files of video, and images that move, as clips: the frames are found first, and only those wanted decoded."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.bounds import MAX_FRAMES, check_clip, check_size
from mmst_cli.media.container import open_stream
from mmst_cli.media.content import ending_of, head_of, name_of, reason, stream_of
from mmst_cli.media.frame_choice import Clip, Frame, even_times, fit_size, square_pixels
from mmst_cli.media.image import first_frame, to_rgb

ANIMATIONS = (".gif", ".png", ".webp")  # which Pillow reads as frames, without an extra
NO_DURATION = 100  # ms: what browsers show a frame for that says 0
BEFORE = 10  # seconds before the first key frame, which no seeking misses
EVEN = 0.002  # seconds that the frames of an even clip are off, where times are stored in whole milliseconds


@contextmanager
def open_clip(content: Path | bytes, settings: MediaConfig) -> Iterator[Clip]:
    """Open a video file or a moving image; its frames can be read while it is open.

    Args:
        content: the file or its bytes.
        settings: what is going to be taken of it, so that a file of hours is refused by its header.

    Raises:
        DataError: it is no video that can be read, or too long.
    """
    if ending_of(head_of(content)) in ANIMATIONS:
        with _open_animation(content) as clip:
            yield clip
        return
    with open_stream(content, "video") as (container, stream):
        stream.thread_count = 1  # starting threads takes longer than decoding a short clip
        _check_header(container, stream, settings)
        stamps, keys, seconds = _find_frames(container, stream, settings.max_seconds)
        if not stamps:
            raise DataError("a video of 0 frames.")
        import av  # is there, or the stream would not be open

        in_rgb = partial(_upright, reformatter=av.video.reformatter.VideoReformatter())
        first = next(_decode(container, stream, stamps, keys, [0]), None)
        if first is None:
            raise DataError("a video of which no frame can be decoded.")
        upright = in_rgb(first)
        aspect = float(stream.sample_aspect_ratio or 1)
        yield Clip(
            *_place_in_time(stream, stamps, seconds),
            *square_pixels(upright.shape[1], upright.shape[0], 1 / aspect if first.rotation % 180 else aspect),
            lambda numbers: map(in_rgb, _decode(container, stream, stamps, keys, numbers)),
        )


def _check_header(container: Any, stream: Any, settings: MediaConfig) -> None:
    """Refuse a file that says it is too long to be read whole, before it is looked through."""
    import av

    if settings.fps is None and settings.max_frames is None and settings.max_seconds is None:
        seconds = (container.duration or 0) / av.time_base
        frames = stream.frames or seconds * float(stream.average_rate or 0)
        width, height = square_pixels(stream.width, stream.height, float(stream.sample_aspect_ratio or 1))
        check_size(width, height, what="frames")
        check_clip(int(frames), *fit_size(width, height, settings.max_pixels), seconds)


def _place_in_time(stream: Any, stamps: list[int], seconds: float) -> tuple[list[float], float]:
    """Return when each frame begins, in seconds from the first, and the length in seconds.

    Where the frames are even but for the rounding of their time stamps, these are those of the rate in the header.
    """
    fps = float(stream.average_rate or 0) or len(stamps) / seconds
    even = even_times(len(stamps), fps)
    shown = [float((stamp - stamps[0]) * stream.time_base) for stamp in stamps]
    if all(abs(time - moment) <= EVEN for time, moment in zip(shown, even, strict=True)):
        return even, len(stamps) / fps
    return shown, seconds


def _find_frames(container: Any, stream: Any, max_seconds: float | None) -> tuple[list[int], list[int], float]:
    """Return the time stamps of all frames and of the key frames, and the length in seconds, without decoding."""
    stamps: list[int] = []
    keys: list[int] = []
    first, end = math.inf, 0.0
    unit = float(stream.time_base)
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        if packet.is_keyframe:  # where decoding can begin, also if it lies before what an edit list shows
            keys.append(packet.pts)
        if packet.is_discard:
            continue
        if len(stamps) == MAX_FRAMES:
            raise DataError(f"a video of over {MAX_FRAMES:,} frames; set media.max_seconds.")
        stamps.append(packet.pts)
        first = min(first, packet.pts)
        end = max(end, packet.pts + (packet.duration or 0))
        # By decoding time: frames that are shown earlier may still follow one that is shown later.
        decoded = packet.pts if packet.dts is None else packet.dts
        if max_seconds is not None and (decoded - first) * unit > max_seconds:
            # Of those shown later some are missing, so that only the ones asked for count.
            stamps = [stamp for stamp in stamps if (stamp - first) * unit < max_seconds]
            end = 0.0
            break
    stamps.sort()
    if not stamps:
        return [], [], 0.0
    if end <= stamps[-1]:  # unknown, or cut off: the last frame is shown as long as the others
        shown = (
            (stamps[-1] - stamps[0]) / (len(stamps) - 1)
            if len(stamps) > 1
            else 1 / float(stream.average_rate or 1) / unit
        )
        end = stamps[-1] + shown
    return stamps, sorted(keys), (end - stamps[0]) * unit


def _decode(container: Any, stream: Any, stamps: list[int], keys: list[int], numbers: list[int]) -> Iterator[Any]:
    """Decode the frames with these numbers, which rise, jumping over those between where a key frame allows it."""
    frames: Iterator[Any] = iter(())
    following = -1  # number of the frame that would be decoded next
    for number in numbers:
        stamp = stamps[number]
        place = max(0, bisect.bisect_right(keys, stamp) - 1)
        if following < 0 or (keys and keys[place] > stamps[following]):
            frames = _frames_up_to(container, stream, stamp, keys[: place + 1] or stamps[:1])
        frame = next((found for found in frames if found.pts is not None and found.pts >= stamp), None)
        if frame is None:
            return
        yield frame
        following = min(number + 1, len(stamps) - 1)


def _frames_up_to(container: Any, stream: Any, stamp: int, keys: list[int]) -> Iterator[Any]:
    """Return frames that begin with the last of these key frames, or so much before that a time stamp is among them.

    Formats without an index, such as MPEG streams, seek to somewhere behind the key frame.
    """
    places = [len(keys) - 1]
    while places[-1] > 0:
        places.append(max(0, 2 * places[-1] - len(keys)))
    for moment in [*(keys[place] for place in places), keys[0] - round(BEFORE / stream.time_base)]:
        container.seek(moment, stream=stream)
        frames = container.decode(stream)
        first = next(frames, None)
        if first is not None and first.pts is not None and first.pts <= stamp:
            return itertools.chain([first], frames)
    return iter(())


def _upright(frame: Any, reformatter: Any) -> Frame:
    """Return the pixels of a frame; sharing the reformatter saves half of the time, as does not starting threads."""
    pixels = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return numpy.ascontiguousarray(numpy.rot90(pixels, frame.rotation // 90))


@contextmanager
def _open_animation(content: Path | bytes) -> Iterator[Clip]:
    """Open a moving image by Pillow. Transparency is laid on white."""
    name = name_of(content)
    try:
        with Image.open(stream_of(content)) as image:
            width, height = image.size
            check_size(width, height, what="frames")
            durations = _find_durations(image)
            times = numpy.cumsum([0, *durations[:-1]]) / 1000
            yield Clip(times.tolist(), sum(durations) / 1000, width, height, lambda numbers: _read(image, numbers))
    except DataError as error:
        raise DataError(f"{name}{error}") from error
    except (Image.DecompressionBombError, OSError, EOFError, SyntaxError, ValueError) as error:
        raise DataError(f"{name}no video that can be read: {reason(error)}.") from error


def _find_durations(image: Image.Image) -> list[float]:
    """Return for how long each frame is shown, in ms."""
    count = getattr(image, "n_frames", 1)
    if count > MAX_FRAMES:
        raise DataError(f"a video of {count:,} frames; up to {MAX_FRAMES:,} are read.")
    durations = []
    for number in range(first_frame(image), count):
        image.seek(number)
        image.load()  # webp knows the duration only then
        durations.append(image.info.get("duration") or NO_DURATION)
    return durations


def _read(image: Image.Image, numbers: list[int]) -> Iterator[Frame]:
    first = first_frame(image)
    for number in numbers:
        image.seek(first + number)
        yield numpy.asarray(to_rgb(image))
