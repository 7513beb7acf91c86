"""One input examined: whether it can be read, how large it is, what is odd about it, and its sketch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.image import read_small_image
from mmst_cli.media.input_errors import concerns_input
from mmst_cli.media.message import parts_of
from mmst_cli.rows.columns import ROW, Column, RowSet, named_file, place
from mmst_cli.similarity.image_likeness import LUMA
from mmst_cli.similarity.sketch import Sketch, sketch_of

# Endings by which a text is taken for the name of a medium.
_MEDIA_NAME = re.compile(
    r"[^\n]{1,400}\.(png|jpe?g|webp|gif|bmp|tiff?|pdf|wav|flac|mp3|ogg|opus|m4a|aac|mp4|webm|mkv|mov|avi)"
    r"(\?\S*)?(#\d+)?",
    re.IGNORECASE,
)
_DATA_URI = re.compile(r"data:(image|audio|video)/", re.IGNORECASE)

NAMES_MEDIUM, IS_TEXT = "names a medium", "is a text"


@dataclass(frozen=True)
class ExaminedInput:
    """What is found out about an input by reading it once."""

    error: str = ""
    """Why it can't be read; nothing else is known then, but for the remark."""
    remark: str = ""
    """``names a medium`` of a text that is a path or an address of one, ``is a text`` of a medium that is one."""
    length: float = math.nan
    """Characters of a text, seconds of a sound or clip."""
    width: int = 0
    height: int = 0
    """Pixels of an image or a clip."""
    level: float = math.nan
    """Of an image the difference of its darkest and brightest value, 0 to 255; of a sound its peak, 0 to 1."""
    drafted: bool = False
    """Whether an image was decoded at a smaller scale, so that its digest isn't that of all its pixels."""
    sketch: Sketch | None = None


def examine_input(rows: RowSet, column: Column, row: int) -> ExaminedInput:
    """Read what one row holds of a column and return what is found out about it; never raises for what it holds."""
    narrow = rows.narrow(column)
    stored = narrow.find(narrow.rows[row], column.origin)
    try:
        if column.modality is Modality.image and not column.parts and not column.message:
            cell = column.cells(stored)[column.sources[0]]
            if cell is None:
                raise DataError("there is no image here: the value is empty.")
            dpi = rows.reader.settings.dpi
            return _examine_image(*read_small_image(rows.reader.locate(cell), LUMA, dpi=dpi))
        return _examine_value(column.modality, narrow.read_column(column, stored))
    except DataError as error:
        said = str(error).removeprefix(f"{place(rows.key, stored.get(ROW), column.name)}: ")
        return ExaminedInput(error=said, remark=IS_TEXT if _holds_text(column, stored) else "")
    except Exception as error:  # whatever is odd about one input is one finding
        if not concerns_input(error):
            raise
        return ExaminedInput(error=f"{type(error).__name__}: {' '.join(str(error).split())}")


def _examine_image(image: Any, size: tuple[int, int]) -> ExaminedInput:
    """Return what is found out about an RGB image that has ``size`` in full."""
    values = image.getextrema()
    return ExaminedInput(
        width=size[0],
        height=size[1],
        level=float(max(high - low for low, high in values)),
        drafted=image.size != size,
        sketch=sketch_of(Modality.image, image, size=size),
    )


def _examine_value(modality: Modality, value: Any) -> ExaminedInput:
    """Return what is found out about an input that was read."""
    made = sketch_of(modality, value)
    if modality is Modality.text:
        remark = NAMES_MEDIUM if _names_medium(value) else ""
        return ExaminedInput(length=len(value) if value.strip() else 0, remark=remark, sketch=made)
    if modality is Modality.audio:
        array = value["array"]
        peak = float(np.abs(array).max()) if len(array) else 0.0
        return ExaminedInput(length=len(array) / value["sampling_rate"], level=peak, sketch=made)
    if modality is Modality.video:
        frames = value["array"]
        rate = (value.get("video_metadata") or {}).get("fps") or 24.0
        spread = float(frames.max()) - float(frames.min())
        height, width = frames.shape[1:3]
        return ExaminedInput(length=len(frames) / rate, width=width, height=height, level=spread, sketch=made)
    texts = [part for part in made.parts if part.modality == "text"]
    return ExaminedInput(length=_characters(modality, value) if texts else math.nan, sketch=made)


def _characters(modality: Modality, value: Any) -> float:
    if modality is Modality.mixed:
        return float(len(value.get("text") or ""))
    return float(sum(len(part["text"]) for _, part in parts_of(value) if part["type"] == "text"))


def _names_medium(text: str) -> bool:
    stripped = text.strip()
    return bool(_DATA_URI.match(stripped) or (_MEDIA_NAME.fullmatch(stripped) and len(stripped.split()) <= 3))


def _holds_text(column: Column, stored: Any) -> bool:
    """Whether a medium that can't be read is words, and not the name of a file that isn't there."""
    if column.parts or column.message or column.modality is Modality.text:
        return False
    named = named_file(stored.get(column.sources[0]))
    return named is not None and len(named.split()) > 2 and not _names_medium(named)
