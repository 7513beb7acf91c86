"""Video files as clips, by torchcodec or PyAV. Either finds the frames first and then decodes only those wanted."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.audio_decoding import NO_STREAM
from mmst_cli.media.backend import require, video_decoder
from mmst_cli.media.bounds import MAX_FRAMES, check_clip, check_size
from mmst_cli.media.content import name_of, reason, refuse_playlist, stream_of
from mmst_cli.media.frames import Clip, Frame, even_times, fit_size

BLOCK_BYTES = 64 * 2**20  # of the frames that torchcodec decodes at once


@contextmanager
def open_clip(content: Path | bytes, settings: MediaConfig) -> Iterator[Clip]:
    """Open a video file; its frames can be read while it is open.

    Frames are taken to follow each other evenly, as the processors of transformers have it.

    Args:
        content: the file or its bytes.
        settings: what is going to be taken of it, so that a file of hours is refused by its header.

    Raises:
        DataError: it is no video that can be read, or too long.
    """
    refuse_playlist(content)
    name = name_of(content)
    if video_decoder() == "torchcodec":
        errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, IndexError)
        opened = _by_torchcodec(content, settings)
    else:
        require("video", f"{name}reading video")
        import av

        errors = (av.FFmpegError, ValueError)
        opened = _by_pyav(content, settings)
    try:
        with opened as clip:
            yield clip
    except DataError as error:
        raise DataError(f"{name}{error}") from error
    except errors as error:
        if NO_STREAM in str(error):
            raise DataError(f"{name}a file without video in it.") from error
        raise DataError(f"{name}no video that can be read: {reason(error)}.") from error


def check_header(frames: float, width: int, height: int, seconds: float, settings: MediaConfig) -> None:
    """Refuse a file that says it is too long to be read whole, before it is looked through."""
    if settings.fps is None and settings.max_frames is None and settings.max_seconds is None:
        check_size(width, height, what="frames")
        check_clip(int(frames), *fit_size(width, height, settings.max_pixels), seconds)


@contextmanager
def _by_pyav(content: Path | bytes, settings: MediaConfig) -> Iterator[Clip]:
    import av

    with av.open(stream_of(content), options={"protocol_whitelist": "file"}) as container:
        if not container.streams.video:
            raise DataError("a file without video in it.")
        stream = container.streams.video[0]
        stream.thread_count = 1  # as torchcodec; starting threads takes longer than decoding a short clip
        seconds = (container.duration or 0) / av.time_base
        frames = stream.frames or seconds * float(stream.average_rate or 0)
        check_header(frames, stream.width, stream.height, seconds, settings)
        stamps, keys, seconds = _find_frames(container, stream, settings.max_seconds)
        if not stamps:
            raise DataError("a video of 0 frames.")
        first = next(_decode(container, stream, stamps[:1], keys))
        yield Clip(
            even_times(len(stamps), len(stamps) / seconds),
            seconds,
            first.shape[1],
            first.shape[0],
            lambda numbers: _decode(container, stream, [stamps[number] for number in numbers], keys),
        )


def _find_frames(container: Any, stream: Any, max_seconds: float | None) -> tuple[list[int], list[int], float]:
    """Return the time stamps of all frames and of the key frames, and the length in seconds, without decoding."""
    stamps: list[int] = []
    keys: list[int] = []
    end = 0.0
    unit = float(stream.time_base)
    for packet in container.demux(stream):
        if packet.pts is None or packet.is_discard:
            continue
        if len(stamps) == MAX_FRAMES:
            raise DataError(f"a video of over {MAX_FRAMES:,} frames; set media.max_seconds.")
        stamps.append(packet.pts)
        end = max(end, packet.pts + (packet.duration or 0))
        if packet.is_keyframe:
            keys.append(packet.pts)
        # By decoding time: frames that are shown earlier may still follow one that is shown later.
        if max_seconds is not None and (packet.dts or packet.pts) * unit > max_seconds + min(stamps) * unit:
            # Of those shown later some are missing, so that only the ones asked for count.
            stamps = [stamp for stamp in stamps if (stamp - min(stamps)) * unit < max_seconds]
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


def _decode(container: Any, stream: Any, stamps: list[int], keys: list[int]) -> Iterator[Frame]:
    """Decode the frames with these time stamps, which rise, jumping over those between where a key frame allows it."""
    frames: Iterator[Any] = iter(())
    frame = None
    for stamp in stamps:
        key = keys[max(0, bisect.bisect_right(keys, stamp) - 1)] if keys else stamps[0]
        if frame is None or key > frame.pts:
            container.seek(key, stream=stream)
            frames = container.decode(stream)
        frame = next((found for found in frames if found.pts is not None and found.pts >= stamp), None)
        if frame is None:
            return
        yield _upright(frame)


def _upright(frame: Any) -> Frame:
    return numpy.ascontiguousarray(numpy.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))


@contextmanager
def _by_torchcodec(content: Path | bytes, settings: MediaConfig) -> Iterator[Clip]:
    from torchcodec.decoders import VideoDecoder

    source = content if isinstance(content, bytes) else stream_of(content)
    header = VideoDecoder(source, seek_mode="approximate").metadata
    seconds = header.duration_seconds_from_header or 0.0
    frames = header.num_frames_from_header or seconds * (header.average_fps_from_header or 0.0)
    check_header(frames, header.width or 0, header.height or 0, seconds, settings)
    yield clip_of(VideoDecoder(source, dimension_order="NHWC"))


def clip_of(decoder: Any) -> Clip:
    """Return the clip of a torchcodec VideoDecoder, or of anything with its ``metadata`` and ``get_frames_at``.

    Raises:
        DataError: it has no frames.
    """
    about = decoder.metadata
    if not about.num_frames:
        raise DataError("a video of 0 frames.")
    if about.num_frames > MAX_FRAMES:
        raise DataError(f"a video of over {MAX_FRAMES:,} frames; cut it.")
    fps = float(about.average_fps)
    times = even_times(about.num_frames, fps)
    return Clip(times, about.num_frames / fps, about.width, about.height, lambda numbers: _blocks(decoder, numbers))


def _blocks(decoder: Any, numbers: list[int]) -> Iterator[Frame]:
    about = decoder.metadata
    block = max(1, BLOCK_BYTES // (about.width * about.height * 3))
    for start in range(0, len(numbers), block):
        frames = decoder.get_frames_at(numbers[start : start + block]).data
        if frames.shape[-1] != 3:  # (frames, 3, height, width), as the decoder does unless told otherwise
            frames = frames.permute(0, 2, 3, 1)
        yield from frames.contiguous().numpy()
