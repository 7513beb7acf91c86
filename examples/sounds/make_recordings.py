"""Write WAV recordings and their words: `python make_recordings.py FOLDER`.

Each recording is a second of a bell, a whistle or a buzzer that sounds once or several times, high or low, in a
silent room, in rain or beside a motor. `recordings.csv` says so of most recordings; `unseen.csv` of the others.
"""

from __future__ import annotations

import argparse
import csv
import random
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
RATE = 16_000  # samples a second
PARTIALS = {"bell": (1.0, 2.76, 5.4), "whistle": (1.0,), "buzzer": (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)}
HERTZ = {"low": 300.0, "high": 1100.0}
TIMES = {"once": 1, "twice": 2, "four times": 4}
PLACES = ("in a silent room", "in the rain", "beside a motor")
UNSEEN = 0.2  # of the recordings


def record(source: str, pitch: str, times: int, place: str, rng: np.random.Generator) -> Samples:
    """Return a second of sound, from -1 to 1: another instrument, another beginning and other weather each time."""
    time = np.arange(RATE) / RATE
    hertz = HERTZ[pitch] * rng.uniform(0.85, 1.18)
    inside = (time + rng.uniform(0, 0.08)) * times % 1  # how far the current sound has come, from 0 to 1
    loudness = np.exp(-rng.uniform(4, 7) * inside) if source == "bell" else (inside < rng.uniform(0.4, 0.7)) * 0.5
    waves = (
        rng.uniform(0.5, 1)
        * np.sin(2 * np.pi * (hertz * partial * rng.uniform(0.98, 1.02) * time + rng.uniform()))
        / nth
        for nth, partial in enumerate(PARTIALS[source], 1)
    )
    return np.asarray(0.4 * sum(waves) * loudness + background(place, time, rng)).clip(-1, 1)


def background(place: str, time: Samples, rng: np.random.Generator) -> Samples:
    """Return what is heard of a place."""
    noise = rng.normal(0, rng.uniform(0.03, 0.08) if place == "in the rain" else rng.uniform(0.001, 0.01), RATE)
    if place == "beside a motor":
        return noise + rng.uniform(0.15, 0.3) * np.sin(2 * np.pi * rng.uniform(45, 95) * time + rng.uniform(0, 6))
    return noise


def main() -> None:
    """Write the recordings and their words."""
    parser = argparse.ArgumentParser(description="Write recordings and their words.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recordings", type=int, default=600)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    chance, rng, rows = random.Random(0), np.random.default_rng(0), []
    for number in range(given.recordings):
        source, pitch = chance.choice(list(PARTIALS)), chance.choice(list(HERTZ))
        times, place = chance.choice(list(TIMES)), chance.choice(PLACES)
        samples = record(source, pitch, TIMES[times], place, rng)
        with wave.open(str(given.folder / f"recording-{number:03d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        rows.append((f"a {pitch} {source} {times} {place}", f"recording-{number:03d}.wav"))
    seen = int(given.recordings * (1 - UNSEEN))
    for name, part in (("recordings.csv", rows[:seen]), ("unseen.csv", rows[seen:])):
        with (given.folder / name).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("words", "recording"), *part])
    print(f"{given.recordings} recordings in {given.folder}")


if __name__ == "__main__":
    main()
