"""Sounds that are the same recording, whatever codec, rate or loudness it came in and however little was cut off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

from mmst_cli.similarity.alignment import COARSE, FINE, align, correlation, lay_over, mean_difference

Arrays = Mapping[str, npt.NDArray[Any]]

TIMES, BANDS = 160, 32  # of a spectrogram, whatever the length of the sound
SIGNATURE = 16  # times and bands of the signature
LOWEST, HIGHEST = 60.0, 3400.0  # Hz: what every rate and codec keeps
RANGE = 50.0  # dB below the loudest that are told apart
# On a scale on which RANGE is 255. Of 600 generated sounds, encoding again (mp3, ogg), other rates and loudness and
# cuts of 4% differ by 3.5 at most and correlate at 0.93 and 0.97; other sounds are at 2.7, 0.93 and 0.96 at best, and
# never in all three.
MAX_DIFFERENCE, MIN_CORRELATION, MIN_ALIKE = 4.0, 0.92, 0.965
MAX_SIGNATURE_MEAN = 14.0  # of signatures: copies have 9 at most, half of the nearest others more than 14
MAX_STRETCH = 1.15  # ratio of lengths
_WINDOW = 0.032  # seconds


def sketch_sound(array: npt.NDArray[Any], rate: int) -> dict[str, npt.NDArray[Any]]:
    """Return what is kept of a sound to compare it by.

    Args:
        array: mono samples, shape (samples,).
        rate: samples a second.

    Returns:
        ``spectrogram`` (32, 160) and ``signature`` (256,), uint8: loudness by band and time relative to the loudest;
        ``seconds`` (1,), float64.
    """
    samples = np.asarray(array, dtype=np.float32)
    power = _band_power(samples, rate)
    decibels = 10 * np.log10(power + 1e-12)
    loudest = decibels.max()
    scaled = np.clip(1 + (decibels - loudest) / RANGE, 0, 1) * 255 if power.max() > 1e-10 else np.zeros_like(power)
    spectrogram = scaled.round().astype(np.uint8)
    blocks = spectrogram.reshape(SIGNATURE, BANDS // SIGNATURE, SIGNATURE, TIMES // SIGNATURE)
    return {
        "spectrogram": spectrogram,
        "signature": blocks.astype(np.float32).mean(axis=(1, 3)).round().astype(np.uint8).reshape(-1),
        "seconds": np.array([len(samples) / rate]),
    }


def _band_power(samples: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float64]:
    """Return mean power by band, low to high on a logarithmic scale, and time: shape (BANDS, TIMES)."""
    window = max(64, int(_WINDOW * rate))
    padded = np.pad(samples, (window // 2, window))
    starts = np.linspace(0, max(0, len(samples) - 1), 2 * TIMES).astype(int)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * window / rate
    bins = np.arange(spectrum.shape[1])[None]
    # Triangles at least two bins wide, so that a low band isn't empty.
    centres = ((edges[:-1] + edges[1:]) / 2)[:, None]
    reach = np.maximum(1.0, (edges[1:] - edges[:-1])[:, None])
    weights = np.maximum(0, 1 - np.abs(bins - centres) / reach)
    power = spectrum @ (weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)).T
    found: npt.NDArray[np.float64] = power.reshape(TIMES, 2, BANDS).mean(axis=1).T
    return found


def may_be_same(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Say of pairs of signatures, both of shape (pairs, 256), whether one sound may have given both.

    A time of a signature may have moved into the next one by a cut, so each is compared with both beside it.
    """
    one, other = (found.reshape(-1, SIGNATURE, SIGNATURE).astype(np.int16) for found in (a, b))
    beside = (1, 1, 3)
    apart = np.maximum(
        np.maximum(other - maximum_filter(one, beside), minimum_filter(one, beside) - other),
        np.maximum(one - maximum_filter(other, beside), minimum_filter(other, beside) - one),
    )
    found: npt.NDArray[np.bool_] = np.maximum(0, apart)[..., 1:-1].mean(axis=(1, 2)) < MAX_SIGNATURE_MEAN
    return found


def are_near(a: Arrays, b: Arrays) -> bool:
    """Whether two sounds are the same recording; both are what :func:`sketch_sound` returned."""
    shorter, longer = sorted((float(a["seconds"][0]), float(b["seconds"][0])))
    if longer > MAX_STRETCH * shorter:
        return False
    one, other = a["spectrogram"].astype(np.float32), b["spectrogram"].astype(np.float32)
    coarse = align(one, other, COARSE, vertical=False)
    if mean_difference(*lay_over(one, other, coarse, BANDS, TIMES)) > 2 * MAX_DIFFERENCE:
        return False
    one, other = lay_over(one, other, align(one, other, FINE, coarse, vertical=False), BANDS, TIMES)
    if mean_difference(one, other) >= MAX_DIFFERENCE or correlation(one, other, 16) <= MIN_CORRELATION:
        return False
    return one.std() == other.std() == 0 or float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) > MIN_ALIKE
