"""Sound files decoded to mono, by torchcodec, or by soundfile (wav, flac) and PyAV (all others)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy

from mmst_cli.errors import DataError
from mmst_cli.media.backend import audio_decoder, require
from mmst_cli.media.bounds import MAX_SECONDS, check_seconds
from mmst_cli.media.content import begins_with, name_of, reason, refuse_playlist, stream_of

BLOCK = 1 << 20  # samples that soundfile reads at once, so that many channels take no more memory than one
MARGIN = 1.0  # seconds decoded beyond the wanted ones, which are then counted in samples
NO_STREAM = "stream is unknown"  # how torchcodec says that a file holds no sound or no video


class Sound(NamedTuple):
    """A decoded sound."""

    samples: numpy.ndarray[Any, Any]
    """float32 of shape (samples,)."""
    rate: int
    """Samples a second."""


def decode_sound(content: Path | bytes, max_seconds: float | None) -> Sound:
    """Decode the sound of a file, or the beginning of it.

    Args:
        content: the file or its bytes.
        max_seconds: how much of it; all if None.

    Raises:
        DataError: it is no sound that can be read, or of over ``MAX_SECONDS`` without ``max_seconds``.
    """
    refuse_playlist(content)
    if audio_decoder() == "torchcodec":
        return _by_torchcodec(content, max_seconds)
    require("audio", f"{name_of(content)}reading sound")
    if begins_with(content, b"RIFF", b"fLaC"):
        return _by_soundfile(content, max_seconds)
    return _by_pyav(content, max_seconds)


def _by_soundfile(content: Path | bytes, max_seconds: float | None) -> Sound:
    import soundfile

    name = name_of(content)
    try:
        with soundfile.SoundFile(stream_of(content)) as file:
            rate = file.samplerate
            if max_seconds is None:
                check_seconds(file.frames / rate, name)
            wanted = file.frames if max_seconds is None else min(file.frames, round(max_seconds * rate))
            blocks = [
                file.read(min(BLOCK, wanted - start), dtype="float32", always_2d=True).mean(axis=1)
                for start in range(0, wanted, BLOCK)
            ]
    except soundfile.SoundFileError as error:
        raise DataError(f"{name}no sound that can be read: {reason(error)}.") from error
    return Sound(_join(blocks), rate)


def _by_pyav(content: Path | bytes, max_seconds: float | None) -> Sound:
    import av

    name = name_of(content)
    try:
        with av.open(stream_of(content)) as container:
            if not container.streams.audio:
                raise DataError(f"{name}a file without sound in it.")
            stream = container.streams.audio[0]
            if max_seconds is None and container.duration is not None:
                check_seconds(container.duration / av.time_base, name)
            return _decode_stream(container.decode(stream), max_seconds, name)
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{name}no sound that can be read: {reason(error)}.") from error


def _decode_stream(frames: Any, max_seconds: float | None, name: str) -> Sound:
    import av

    # Only the sample format is changed here, not the rate nor the channels.
    to_planes = av.AudioResampler(format="fltp")
    blocks: list[Any] = []
    count, rate = 0, 0
    for frame in frames:
        rate = frame.sample_rate
        for floats in to_planes.resample(frame):
            blocks.append(floats.to_ndarray().mean(axis=0))
            count += blocks[-1].shape[0]
        if max_seconds is not None and count >= max_seconds * rate:
            break
        if max_seconds is None:
            check_seconds(count / rate, name)
    samples = _join(blocks)
    return Sound(samples if max_seconds is None else samples[: round(max_seconds * rate)], rate)


def _by_torchcodec(content: Path | bytes, max_seconds: float | None) -> Sound:
    name = name_of(content)
    try:
        decoder = _open_by_torchcodec(content if isinstance(content, bytes) else stream_of(content))
        header = decoder.metadata
        if header.duration_seconds_from_header == 0:  # asked for samples, the decoder would fail
            return Sound(_join([]), int(header.sample_rate))
        if max_seconds is None:
            check_seconds(header.duration_seconds_from_header or 0.0, name)
        stop = (header.begin_stream_seconds_from_header or 0.0) + (max_seconds or MAX_SECONDS) + MARGIN
        played = decoder.get_samples_played_in_range(0.0, stop)
    except (RuntimeError, ValueError) as error:
        if NO_STREAM in str(error):
            raise DataError(f"{name}a file without sound in it.") from error
        raise DataError(f"{name}no sound that can be read: {reason(error)}.") from error
    samples, rate = played.data.numpy().mean(axis=0), int(played.sample_rate)
    if max_seconds is None:
        check_seconds(len(samples) / rate, name)
        return Sound(samples, rate)
    return Sound(samples[: round(max_seconds * rate)], rate)


def _open_by_torchcodec(source: Any) -> Any:
    from torchcodec.decoders import AudioDecoder, WavDecoder

    try:
        return WavDecoder(source)  # opens in a twentieth of the time
    except (RuntimeError, ValueError):  # no wav file, or one of the rarer encodings
        return AudioDecoder(source)


def _join(blocks: list[Any]) -> numpy.ndarray[Any, Any]:
    return numpy.concatenate(blocks).astype(numpy.float32) if blocks else numpy.zeros(0, dtype=numpy.float32)
