"""Images in whatever form they come, as whole, upright RGB images."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from mmst_cli.errors import DataError
from mmst_cli.media.bounds import MAX_PIXELS, check_size
from mmst_cli.media.colour_profiles import profile_of, to_srgb
from mmst_cli.media.content import ending_of, find_content, head_of, name_of, reason, show, stream_of
from mmst_cli.media.deep_images import check_depth, from_16_bits, scale_16_bits, with_white_at_the_top
from mmst_cli.media.input_errors import as_data_error, concerns_input
from mmst_cli.media.pdf import DPI, names_pdf, render_page, split_page

# Pillow warns from half of the size at which it and check_size refuse.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of text beside an image, such as an editor's history: what Pillow allows for all pieces together, also for one.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY


Seen = Callable[[tuple[int, int]], tuple[int, int] | None]
"""From the width and height of an image to those at which a model sees it; None where that isn't known."""


def read_image(source: Any, *, dpi: int = DPI, seen: Seen | None = None) -> Image.Image:
    """Return a whole, upright RGB image.

    EXIF rotation is applied, transparency laid on white, 16-bit grey scaled to 8 bits, colours are converted to sRGB
    from their profile, or from the gamma and primaries of a PNG, and without them CMYK and palettes as Pillow does it.
    An animation is its first frame, not the still that a PNG may hold for programs that know no animations.

    Args:
        source: a PIL image, bytes, a path (``file.pdf#3`` is a page), ``{"bytes", "path"}``, or an array or nested list
            of shape (height, width) or (height, width, 1, 3 or 4) with whole numbers from 0 to 255, or of uint16.
        dpi: resolution at which a page is drawn.
        seen: decodes a JPEG at the smallest scale that is still seen at the same size; in full if left out.

    Raises:
        DataError: it isn't there, is broken, too large or too long, or is no image.
    """
    return _read(source, dpi, None if seen is None else partial(_least_seen_alike, seen))[0]


def _least_seen_alike(seen: Seen, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the smallest size that a JPEG may be decoded at; None where that is its own."""
    whole = seen(size)
    for scale in (8, 4, 2):
        smaller = size[0] // scale, size[1] // scale
        if whole and smaller[0] >= whole[0] and smaller[1] >= whole[1] and seen(_decoded(size, scale)) == whole:
            return smaller
    return None


def _decoded(size: tuple[int, int], scale: int) -> tuple[int, int]:
    return -(-size[0] // scale), -(-size[1] // scale)


def read_small_image(source: Any, at_least: int, *, dpi: int = DPI) -> tuple[Image.Image, tuple[int, int]]:
    """Read an image as :func:`read_image` does, but a JPEG at the smallest scale with so many pixels a side.

    The whole file is decoded to frequencies all the same, so that one that is broken fails here as it does there;
    only pixels that nobody needs are not made of them, in a third of the time or less.

    Args:
        source: as there.
        at_least: pixels that either side keeps, if it has them.
        dpi: as there.

    Returns:
        The image, and the width and height that it has in full, upright.

    Raises:
        DataError: as there.
    """
    with as_data_error("the image can't be read"):
        return _read(source, dpi, lambda _: (at_least, at_least))


def _read(
    source: Any, dpi: int, at_least: Callable[[tuple[int, int]], tuple[int, int] | None] | None
) -> tuple[Image.Image, tuple[int, int]]:
    if isinstance(source, Image.Image):
        return _with_size(_decode(source, ""))
    if isinstance(source, str | Path) and names_pdf(source):
        path, page = split_page(source)
        return _with_size(render_page(path, page, dpi))
    content = find_content(source)
    if content is None:
        return _with_size(to_rgb(_from_array(source)))
    name = name_of(content)
    _learn_heic(content)
    try:
        with Image.open(stream_of(content)) as image:
            check_depth(image, content)
            if first := first_frame(image):
                image.seek(first)
            if at_least is None or image.format != "JPEG" or image.mode not in ("L", "RGB"):
                return _with_size(_decode(image, name))
            size = image.size
            check_size(size[0], size[1], what=f"{name}an image")
            if (least := at_least(size)) is not None:
                image.draft(image.mode, least)
            drafted = image.size  # before it is turned upright
            small = _decode(image, name)
            return small, size if small.size == drafted else size[::-1]
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}an image of over {MAX_PIXELS:,} pixels; scale it down.") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name}{_unknown(content)}.") from error
    except (OSError, ValueError, SyntaxError) as error:  # ValueError of a PNG with more text than Pillow reads
        if not concerns_input(error):
            raise
        raise DataError(f"{name}the image can't be read: {reason(error)}.") from error


def first_frame(image: Image.Image) -> int:
    """Return which of Pillow's frames is the first that is shown: an animated PNG may hold a still before them."""
    return int(bool(image.info.get("default_image")) and getattr(image, "n_frames", 1) > 1)


def _learn_heic(content: Path | bytes) -> None:
    """Let Pillow read HEIC where pillow-heif is installed, which knows no other way than for the whole process."""
    if ending_of(head_of(content)) == ".heic" and importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()


def _unknown(content: Path | bytes) -> str:
    """Say why Pillow knows no image in this content, and what to do about it."""
    match ending_of(head_of(content)):
        case ".heic":
            return "a HEIC image; to have it read, pip install pillow-heif, or save it as JPEG or PNG"
        case ".avif":
            return "an AVIF image that Pillow can't read here; save it as JPEG or PNG"
        case ".pdf":
            return "a PDF, whose pages are read from a file whose name ends in .pdf"
    return "no image format that is known"


def _with_size(image: Image.Image) -> tuple[Image.Image, tuple[int, int]]:
    return image, image.size


def _decode(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    check_size(width, height, what=f"{name}an image")
    try:
        image.load()  # here, so that a truncated file fails alone and not in the middle of a batch
        is_turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        upright = ImageOps.exif_transpose(image) if is_turned else image  # of which it would make a copy
        if image.format == "TIFF" and image.mode.startswith("I;16"):
            upright = with_white_at_the_top(upright, image.tag_v2)  # type: ignore[attr-defined]
    except Exception as error:  # a broken file makes Pillow's decoders raise nearly anything, SyntaxError included
        if not concerns_input(error):
            raise
        raise DataError(f"{name}the image can't be read: {reason(error)}.") from error
    try:
        return to_rgb(upright)
    except DataError as error:
        raise DataError(f"{name}{error}") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as RGB: transparency on white, 16 bits scaled to 8, colours as its profile means them.

    Raises:
        DataError: it holds floats, or whole numbers of more than 16 bits.
    """
    profile = profile_of(image)
    if image.mode == "RGB" and not image.has_transparency_data and not profile:
        return image
    if image.mode == "F":
        raise DataError("an image of floats; save it with 8 or 16 bits a pixel.")
    if image.mode.startswith("I"):
        return to_srgb(from_16_bits(image), profile)
    if image.has_transparency_data:
        return _on_white(image, profile)
    return to_srgb(image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB"), profile)


def _on_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        # Of 16 bits, of which Pillow keeps the upper 8 of the pixels alone, and finds no pixel of this colour.
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    coloured = image.convert("RGBA")
    if profile:
        opaque = image.getchannel(0) if image.mode in ("L", "LA") else coloured.convert("RGB")
        converted = to_srgb(opaque, profile)
        converted.putalpha(coloured.getchannel("A"))
        coloured = converted
    white = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(white, coloured).convert("RGB")


def _from_array(source: Any) -> Image.Image:
    if isinstance(source, dict):
        raise DataError(
            f"an image is stored as bytes and path, found a mapping of {show(', '.join(map(str, source)))}."
        )
    if not isinstance(source, list | tuple) and not hasattr(source, "__array__"):
        raise DataError(f"found {type(source).__name__}, where an image is an array, a path, bytes or a PIL image.")
    try:
        array = numpy.asarray(source)
    except ValueError as error:
        raise DataError("the rows of this image array differ in length.") from error
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not shaped or array.size == 0 or array.dtype.kind not in "ui":
        raise DataError(
            "an image array has shape (height, width) or (height, width, 1, 3 or 4) and whole numbers "
            f"from 0 to 255, found shape {array.shape} of {array.dtype}."
        )
    check_size(array.shape[1], array.shape[0])
    if array.dtype == numpy.uint16:
        array = scale_16_bits(array)
    if array.min() < 0 or array.max() > 255:
        raise DataError(f"image values go from 0 to 255, found {array.min()} to {array.max()}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return Image.fromarray(numpy.ascontiguousarray(array, dtype=numpy.uint8))
