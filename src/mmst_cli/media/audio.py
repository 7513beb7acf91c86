"""Sounds in whatever form they come, as mono float32 at the rate that a model wants."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.bounds import MAX_SECONDS, check_seconds
from mmst_cli.media.container import open_stream
from mmst_cli.media.content import find_content, name_of


class Sound(NamedTuple):
    """A decoded sound."""

    samples: numpy.ndarray[Any, Any]
    """float32 of shape (samples,)."""
    rate: int
    """Samples a second."""


def read_audio(source: Any, settings: MediaConfig, sampling_rate: int | None = None) -> dict[str, Any]:
    """Return a sound as sentence-transformers takes it: ``{"array": float32 (samples,), "sampling_rate": Hz}``.

    Mono is the mean of the channels. Whole numbers are scaled to -1..1 by their width; int64, which lists of whole
    numbers become, is taken for 16 bits. Silence is a sound.

    Args:
        source: a path, bytes, ``{"bytes", "path"}``, ``{"array", "sampling_rate"}``, an AudioDecoder of torchcodec, as
            datasets hands it over, or anything else with ``get_all_samples``. Of an array of two dimensions the shorter
            one is the channels.
        settings: ``max_seconds`` is read from the beginning; without it sounds of over ``MAX_SECONDS`` are refused.
        sampling_rate: rate to resample to, in Hz, by scipy's polyphase filter; the sound's own if left out.

    Raises:
        DataError: it isn't there, is broken, empty, too long or no sound.
    """
    content = find_content(source)
    if content is not None:
        sound, name = _decode(content, settings.max_seconds), name_of(content)
    else:
        sound, name = _from_values(source, settings.max_seconds), ""
    if not len(sound.samples):
        raise DataError(f"{name}no sound in it: 0 samples.")
    if not numpy.isfinite(sound.samples).all():
        raise DataError(f"{name}the sound holds values that are no numbers (NaN or infinite).")
    samples = resample(sound.samples, sound.rate, sampling_rate) if sampling_rate else sound.samples
    return {"array": samples, "sampling_rate": sampling_rate or sound.rate}


def resample(samples: numpy.ndarray[Any, Any], rate: int, target: int) -> numpy.ndarray[Any, Any]:
    """Return ``samples``, of shape (samples,), at another rate; both rates are in Hz."""
    if rate == target:
        return samples
    from scipy.signal import resample_poly

    common = math.gcd(rate, target)
    return numpy.asarray(resample_poly(samples, target // common, rate // common), dtype=numpy.float32)


def _decode(content: Path | bytes, max_seconds: float | None) -> Sound:
    with open_stream(content, "audio") as (container, stream):
        import av  # is there, or the stream would not be open

        # By the header, or by its bytes where a sound written to a pipe has a placeholder of hours for its length.
        if max_seconds is None and container.duration is not None:
            check_seconds(container.duration / av.time_base)
        # Only the sample format is changed here, not the rate nor the channels. These are interleaved, for of eight
        # channels or more in planes of their own PyAV reads beyond the last, and the process dies.
        to_floats = av.AudioResampler(format="flt")
        blocks: list[Any] = []
        count, rate = 0, stream.rate
        for frame in container.decode(stream):
            rate = frame.sample_rate
            for floats in to_floats.resample(frame):
                channels = floats.to_ndarray().reshape(-1, floats.layout.nb_channels).T
                blocks.append(numpy.ascontiguousarray(channels).mean(axis=0))
                count += blocks[-1].shape[0]
            if max_seconds is not None and count >= max_seconds * rate:
                break
            if max_seconds is None:
                check_seconds(count / rate)
    samples = numpy.concatenate(blocks).astype(numpy.float32) if blocks else numpy.zeros(0, dtype=numpy.float32)
    return Sound(samples if max_seconds is None else samples[: round(max_seconds * rate)], rate)


def _from_values(source: Any, max_seconds: float | None) -> Sound:
    if isinstance(source, dict) and {"array", "sampling_rate"} <= source.keys():
        return _cut(source["array"], source["sampling_rate"], max_seconds)
    if callable(getattr(source, "get_samples_played_in_range", None)):
        begin = getattr(source.metadata, "begin_stream_seconds", None) or 0.0
        played = source.get_samples_played_in_range(0.0, begin + (max_seconds or MAX_SECONDS) + 1.0)
        return _cut(played.data, played.sample_rate, max_seconds)
    if callable(getattr(source, "get_all_samples", None)):
        played = source.get_all_samples()
        return _cut(played.data, played.sample_rate, max_seconds)
    if isinstance(source, list | tuple) or hasattr(source, "__array__"):
        raise DataError(
            "a sound array without its sampling rate; give a mapping of array and sampling_rate (samples a second)."
        )
    found = f"a mapping of {', '.join(map(str, source))}" if isinstance(source, dict) else type(source).__name__
    raise DataError(f"found {found}, where a sound is a path, bytes, or a mapping of array and sampling_rate.")


def _cut(values: Any, rate: Any, max_seconds: float | None) -> Sound:
    if isinstance(rate, bool) or not isinstance(rate, int | float | numpy.number) or rate < 1 or rate != int(rate):
        raise DataError(f"sampling_rate is a whole number of samples a second, found {rate!r}.")
    try:
        array = numpy.asarray(values)
    except ValueError as error:
        raise DataError("the channels of this sound array differ in length.") from error
    if array.ndim == 2 and array.shape[1] < array.shape[0]:
        array = array.T
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise DataError(
            "a sound array has shape (samples,) or (channels, samples) and holds numbers, "
            f"found shape {array.shape} of {array.dtype}."
        )
    seconds = array.shape[-1] / int(rate)
    if max_seconds is not None:
        array = array[..., : round(max_seconds * int(rate))]
    else:
        check_seconds(seconds)
    floats = _to_float(array)
    return Sound(floats if floats.ndim == 1 else floats.mean(axis=0, dtype=numpy.float32), int(rate))


def _to_float(array: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
    if array.dtype.kind == "f":
        return array.astype(numpy.float32)
    if array.dtype == numpy.uint8:
        return ((array.astype(numpy.float32)) - 128) / 128
    bits = 16 if array.dtype == numpy.int64 else 8 * array.dtype.itemsize
    if array.dtype.kind == "u" or (array.size and max(-int(array.min()), int(array.max())) > 2 ** (bits - 1)):
        raise DataError(f"a sound of {array.dtype} values; give floats from -1 to 1, int16 or int32.")
    return (array / 2.0 ** (bits - 1)).astype(numpy.float32)
