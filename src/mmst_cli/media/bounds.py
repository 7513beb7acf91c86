"""How much of a medium is read at most, so that no file can take all memory or all day."""

from __future__ import annotations

from mmst_cli.errors import DataError

MAX_PIXELS = 178_956_970  # of an image: twice Pillow's own limit, where it stops as well
MAX_ASPECT = 200  # longer side by shorter; the processors of transformers refuse more
MAX_SECONDS = 1800  # of a sound, unless media.max_seconds asks for its beginning
MAX_CLIP_BYTES = 512 * 2**20  # of the frames of one clip, decoded
MAX_FRAMES = 1_000_000  # of a file: over nine hours at 30 a second


def check_size(width: int, height: int, what: str = "an image") -> None:
    """Check the size of an image before it is decoded or drawn.

    Args:
        width: in pixels.
        height: in pixels.
        what: what has the size, for messages.

    Raises:
        DataError: it has no pixels, too many, or is longer than models take.
    """
    if width < 1 or height < 1:
        raise DataError(f"{what} of {width}x{height} pixels; there is nothing in it.")
    if width * height > MAX_PIXELS:
        raise DataError(f"{what} of {width}x{height} pixels; up to {MAX_PIXELS:,} are read, so scale it down.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(
            f"{what} of {width}x{height} pixels; models take aspect ratios up to {MAX_ASPECT}, so cut it in pieces."
        )


def check_clip(frames: int, width: int, height: int, seconds: float) -> None:
    """Check that the frames to be taken of a clip, 3 bytes a pixel, stay within ``MAX_CLIP_BYTES``.

    Raises:
        DataError: they don't.
    """
    if frames * width * height * 3 > MAX_CLIP_BYTES:
        raise DataError(
            f"a clip of {seconds:,.0f} s would give {frames:,} frames of {width}x{height} pixels, "
            f"over {MAX_CLIP_BYTES // 2**20} MiB; set media.fps, media.max_frames or media.max_seconds."
        )


def check_seconds(seconds: float) -> None:
    """Check that a sound is short enough to be read whole.

    Raises:
        DataError: it isn't.
    """
    if seconds > MAX_SECONDS:
        raise DataError(f"{seconds:,.0f} s of sound; set media.max_seconds to read the beginning of it.")
