"""Write MP4 clips and what they show: `python make_clips.py FOLDER`.

In each clip of two seconds a coloured ball or box on a dark floor, with a carpet on it, rolls from side to side,
bounces, or lies still. `clips.csv` says so of most clips; `unseen.csv` of the others.
"""

from __future__ import annotations

import argparse
import csv
import math
import random
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

COLOURS = ("red", "yellow", "green", "cyan", "white")
FLOORS = {"blue": "#141478", "black": "#080808", "brown": "#5a3210"}
MOVES = {"rolls from side to side": (1, 0), "bounces up and down": (0, 1), "lies still": (0, 0)}
SIDE, FRAMES, FPS = 64, 8, 4  # pixels; frames; frames a second
UNSEEN = 0.2  # of the clips


def draw_clip(shape: str, colour: str, floor: str, move: tuple[int, int], rng: random.Random) -> NDArray[np.uint8]:
    """Return a clip as frames x height x width x RGB."""
    x, y, radius, begin = rng.uniform(16, 48), rng.uniform(16, 48), rng.uniform(8, 14), rng.random()
    carpet = tuple(rng.randint(40, 90) for _ in range(3))
    left, top, width, height = (rng.randint(0, 40), rng.randint(0, 40), rng.randint(6, 30), rng.randint(6, 30))
    frames = []
    for number in range(FRAMES):
        frame = Image.new("RGB", (SIDE, SIDE), FLOORS[floor])
        ImageDraw.Draw(frame).rectangle((left, top, left + width, top + height), fill=carpet)
        swing = 22 * math.sin(2 * math.pi * (begin + number / FRAMES))
        across, down = (32 + swing if moves else place for moves, place in zip(move, (x, y), strict=True))
        box = (across - radius, down - radius, across + radius, down + radius)
        draw = ImageDraw.Draw(frame)
        (draw.ellipse if shape == "ball" else draw.rectangle)(box, fill=colour)
        frames.append(np.asarray(frame))
    return np.stack(frames)


def write_mp4(frames: NDArray[np.uint8], path: Path) -> None:
    """Write frames as H.264 in an MP4 file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, width=SIDE, height=SIDE, pix_fmt="yuv420p")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode(None))


def main() -> None:
    """Write the clips and what they show."""
    parser = argparse.ArgumentParser(description="Write clips and what they show.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=500)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    rng, rows = random.Random(0), []
    for number in range(given.clips):
        shape, colour = rng.choice(("ball", "box")), rng.choice(COLOURS)
        floor, move = rng.choice(list(FLOORS)), rng.choice(list(MOVES))
        write_mp4(draw_clip(shape, colour, floor, MOVES[move], rng), given.folder / f"clip-{number:03d}.mp4")
        rows.append((f"a {colour} {shape} {move} on a {floor} floor", f"clip-{number:03d}.mp4"))
    seen = int(given.clips * (1 - UNSEEN))
    for name, part in (("clips.csv", rows[:seen]), ("unseen.csv", rows[seen:])):
        with (given.folder / name).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([("what", "clip"), *part])
    print(f"{given.clips} clips in {given.folder}")


if __name__ == "__main__":
    main()
