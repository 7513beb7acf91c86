"""How a sound of `builtin:sounds` is made."""

from __future__ import annotations

import io
import math
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Samples = NDArray[numpy.float32]

RATE = 8000  # samples per second
SAMPLES = RATE  # one second
COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
PITCHES = {"low": 240.0, "middle": 540.0, "high": 1200.0}  # hertz in the middle of a tone
# Partials as multiple of the pitch and amplitude. The highest ones leave out what lies above half the rate.
TIMBRES = {
    "pure": [(1.0, 1.0)],
    "hollow": [(1.0, 0.9), (3.0, 0.5), (5.0, 0.3), (7.0, 0.2)],  # odd ones alone, as in a square wave
    "buzzing": [(k, 0.7 / k**0.5) for k in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)],
    "metallic": [(1.0, 0.6), (1.48, 0.5), (2.37, 0.5)],  # inharmonic, as in a bell
    "noisy": [(1.0, 1.0)],  # one partial whose pitch wobbles at random
}
GLIDES = {"rising": 1.0, "falling": -1.0, "steady": 0.0}
LOUDNESSES = ["swelling", "fading", "even"]
BACKGROUNDS = ["silence", "hiss", "hum", "crackle"]

GLIDE = 1.0  # octaves from a tone's beginning to its end
FADE = 26.0  # decibels from a tone's quiet end to its loud one


@dataclass(frozen=True)
class Attributes:
    """What a sound is made of and a query asks for."""

    count: str
    pitch: str
    timbre: str
    glide: str
    loudness: str
    background: str


def synthesise(sound: Attributes, noise: int) -> NDArray[numpy.int16]:
    """Return one second of ``sound`` at 8 kHz; what is not an attribute comes from the seed ``noise``."""
    rng = numpy.random.default_rng(noise)
    sounding, position, gate = _place_tones(COUNTS[sound.count], rng)
    recording = _background(sound.background, rng)
    recording[sounding] += _play(sound, position, rng) * gate * _loudness(sound.loudness, position)
    samples = (0.4 * rng.uniform(0.7, 1.3) * recording).clip(-1, 1) * 32767
    return numpy.asarray(numpy.rint(samples), dtype=numpy.int16)


def write_wav(samples: NDArray[numpy.int16]) -> bytes:
    """Return a WAV file of mono 16-bit ``samples`` at 8 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def _place_tones(count: int, rng: Generator) -> tuple[NDArray[numpy.bool_], Samples, Samples]:
    """Return which samples sound, and for each of these its place in its tone (-1 to 1) and how open it is (0 to 1)."""
    time = numpy.arange(SAMPLES, dtype=numpy.float32) / SAMPLES
    half = rng.uniform(0.6, 0.72) / 2 / count
    centres = (numpy.arange(count) + 0.5 + rng.uniform(-0.08, 0.08, count)) / count
    nearest = centres[(time * count).astype(int)].astype(numpy.float32)
    position = (time - nearest) / numpy.float32(half)
    sounding = numpy.abs(position) < 1
    position = position[sounding]
    gate = ((1 - numpy.abs(position)) * numpy.float32(half * 80)).clip(0, 1)  # 12 ms, so that nothing clicks
    return sounding, position, gate


def _play(sound: Attributes, position: Samples, rng: Generator) -> Samples:
    octaves = rng.uniform(-0.12, 0.12) + GLIDES[sound.glide] * rng.uniform(0.85, 1.15) * GLIDE / 2 * position
    frequency = PITCHES[sound.pitch] * numpy.exp2(octaves)
    if sound.timbre == "noisy":
        frequency = frequency * (1 + 0.35 * numpy.repeat(rng.normal(size=SAMPLES // 20), 20)[: len(position)])
    turns = numpy.cumsum(frequency / RATE, dtype=numpy.float64) + rng.uniform()
    played = numpy.zeros(len(position), dtype=numpy.float32)
    for multiple, amplitude in TIMBRES[sound.timbre]:
        phase = (2 * numpy.pi * (multiple * turns % 1)).astype(numpy.float32)  # float32 has a sine of its own, faster
        played += amplitude * numpy.sin(phase) * (multiple * frequency < RATE / 2)
    return played


def _loudness(name: str, position: Samples) -> Samples | float:
    if name == "even":
        return 1.0
    quietness = (1 - position if name == "swelling" else 1 + position) / 2
    return numpy.exp(-FADE / 20 * math.log(10) * quietness, dtype=numpy.float32)


def _background(name: str, rng: Generator) -> Samples:
    hiss = rng.standard_normal(SAMPLES, dtype=numpy.float32)
    background = (0.032 if name == "hiss" else 0.002) * hiss  # no recording is without any
    if name == "hum":
        time = numpy.arange(SAMPLES, dtype=numpy.float32) / RATE
        background += 0.2 * numpy.sin(2 * numpy.pi * (rng.uniform(48, 62) * time + rng.uniform()))
    elif name == "crackle":
        for start in rng.integers(0, SAMPLES - 8, 14):
            background[start : start + 8] += rng.choice([-1, 1]) * rng.uniform(0.3, 0.7)
    return background
