"""Moving gif, webp and png images as clips, by Pillow, which needs no extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.media.bounds import MAX_FRAMES, check_size
from mmst_cli.media.content import begins_with, name_of, reason, stream_of
from mmst_cli.media.frames import Clip, Frame
from mmst_cli.media.image import to_rgb

MARKS = (b"GIF8", b"\x89PNG")
NO_DURATION = 100  # ms: what browsers show a frame for that says 0


def is_animation(content: Path | bytes) -> bool:
    """Tell whether Pillow reads this as frames: gif, png and webp files (which begin as avi files do)."""
    return begins_with(content, *MARKS) or _is_webp(content)


def _is_webp(content: Path | bytes) -> bool:
    if isinstance(content, bytes):
        return content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    with content.open("rb") as file:
        return _is_webp(file.read(12))


@contextmanager
def open_animation(content: Path | bytes) -> Iterator[Clip]:
    """Open a moving image; its frames can be read while it is open. Transparency is laid on white.

    Raises:
        DataError: it can't be read.
    """
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
    for number in range(count):
        image.seek(number)
        image.load()  # webp knows the duration only then
        durations.append(image.info.get("duration") or NO_DURATION)
    return durations


def _read(image: Image.Image, numbers: list[int]) -> Iterator[Frame]:
    for number in numbers:
        image.seek(number)
        yield numpy.asarray(to_rgb(image))
