"""Images as a viewer shows them: profiles, transparency of 16 bits, stills beside animations, text beside pixels."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import sys
import zlib

import numpy
import pytest
from PIL import Image, ImageCms

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media.image import read_image, read_small_image
from mmst_cli.media.video import read_video

D50 = (0.9642, 1.0, 0.8249)
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))  # XYZ of its primaries
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
COLOURS = numpy.array([[[200, 100, 50], [30, 160, 90], [128, 128, 128], [255, 255, 255], [90, 80, 200]]], dtype="uint8")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels, depth, colour_type, *chunks):
    """A PNG of an array of shape (height, width, ...), with these (kind, content) before the pixels."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    extra = b"".join(chunk(*one) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def profile_of(space, gamma, primaries=()):
    """An ICC profile of version 2: RGB with these primaries, or GRAY, both with a curve that is a power."""

    def number(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"wtpt": xyz(D50), b"desc": b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + b"\0" * 78}
    tags |= {b"kTRC": curve} if space == b"GRAY" else dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=False))
    table, data = b"", b""
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content
    size = 132 + len(table) + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, b"mntr", space, b"XYZ ") + b"\0" * 12
    head += b"acsp" + b"\0" * 28 + b"".join(map(number, D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def shown(rgb, gamma, primaries):
    """What a screen of sRGB shows of colours of these primaries, computed by hand."""
    light = (rgb / 255.0) ** gamma @ numpy.array(primaries) @ numpy.linalg.inv(numpy.array(SRGB))
    light = light.clip(0, 1)
    curved = numpy.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return numpy.rint(255 * curved)


def saved(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixels(image):
    return numpy.asarray(image).astype(int)


ADOBE_PROFILE = profile_of(b"RGB ", 2.19921875, ADOBE)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "AVIF"])
def test_colours_of_a_wider_space_are_shown_as_a_screen_shows_them(form):
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(form, {})
    content = saved(Image.fromarray(COLOURS), form, icc_profile=ADOBE_PROFILE, **options)
    expected = shown(COLOURS, 2.19921875, ADOBE)
    assert numpy.abs(expected - COLOURS).max() > 20
    bound = 5 if form == "AVIF" else 2
    assert numpy.abs(pixels(read_image(content)) - expected).max() <= bound
    small, _ = read_small_image(content, 1)
    assert numpy.abs(pixels(small) - expected).max() <= bound


def test_a_jpeg_and_its_smaller_scale_are_shown_in_the_same_colours():
    content = saved(Image.new("RGB", (64, 64), (200, 100, 50)), "JPEG", quality=95, icc_profile=ADOBE_PROFILE)
    expected = shown(numpy.array([[[200, 100, 50]]]), 2.19921875, ADOBE)
    assert numpy.abs(pixels(read_image(content)) - expected).max() <= 4
    assert numpy.abs(pixels(read_small_image(content, 8)[0]) - expected).max() <= 4


@pytest.mark.parametrize(
    "profile",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), b"no profile", ADOBE_PROFILE[:200]],
    ids=["sRGB", "junk", "cut off"],
)
def test_pixels_stay_what_they_are_with_a_profile_that_changes_nothing_or_cannot_be_read(profile):
    content = saved(Image.fromarray(COLOURS), icc_profile=profile)
    assert (pixels(read_image(content)) == COLOURS).all()


def test_grey_is_shown_by_its_own_curve_at_8_and_at_16_bits():
    profile = profile_of(b"GRAY", 1.0)
    grey = numpy.array([[0, 40, 128, 255]], dtype=numpy.uint8)
    expected = shown(numpy.stack([grey] * 3, axis=2), 1.0, SRGB)
    assert numpy.abs(pixels(read_image(saved(Image.fromarray(grey), icc_profile=profile))) - expected).max() <= 2
    deep = png(grey.astype(int) * 257, 16, 0, (b"iCCP", b"x\0\0" + zlib.compress(profile)))
    assert numpy.abs(pixels(read_image(deep)) - expected).max() <= 2


def test_a_grey_image_with_a_profile_of_colours_and_the_reverse_are_read():
    grey = Image.fromarray(numpy.array([[0, 128, 255]], dtype=numpy.uint8))
    as_colours = shown(numpy.array([[[0] * 3, [128] * 3, [255] * 3]]), 2.19921875, ADOBE)
    assert numpy.abs(pixels(read_image(saved(grey, icc_profile=ADOBE_PROFILE))) - as_colours).max() <= 2
    content = saved(Image.fromarray(COLOURS), icc_profile=profile_of(b"GRAY", 1.0))
    assert (pixels(read_image(content)) == COLOURS).all()


def test_grey_with_transparency_is_shown_by_its_own_curve():
    profile = profile_of(b"GRAY", 1.0)
    expected = shown(numpy.array([[[100] * 3, [255] * 3]]), 1.0, SRGB)
    grey = Image.fromarray(numpy.array([[100, 7]], dtype=numpy.uint8))
    with_alpha = Image.merge("LA", [grey, Image.fromarray(numpy.array([[255, 0]], dtype=numpy.uint8))])
    for content in (saved(grey, icc_profile=profile, transparency=7), saved(with_alpha, icc_profile=profile)):
        assert numpy.abs(pixels(read_image(content)) - expected).max() <= 2


def rational(*numbers):
    return struct.pack(f">{len(numbers)}I", *(round(number * 100_000) for number in numbers))


ADOBE_CORNERS = rational(0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_CORNERS = rational(0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)


@pytest.mark.parametrize(
    ("gamma", "corners", "expected"),
    [
        (1.0, None, shown(COLOURS, 1.0, SRGB)),
        (1 / 1.8, SRGB_CORNERS, shown(COLOURS, 1.8, SRGB)),
        (0.45455, ADOBE_CORNERS, shown(COLOURS, 2.2, ADOBE)),
        (0.45455, None, COLOURS),
        (0.45455, SRGB_CORNERS, COLOURS),
        (0, rational(0.3, 0, 0, 0, 0, 0, 0, 0), COLOURS),
    ],
    ids=["light itself", "1.8", "Adobe RGB", "nearly sRGB", "sRGB in numbers", "nonsense"],
)
def test_colours_of_a_png_are_what_its_gamma_and_primaries_say(gamma, corners, expected):
    chunks = [(b"gAMA", rational(gamma)), *([(b"cHRM", corners)] if corners else [])]
    shown_as = pixels(read_image(png(COLOURS, 8, 2, *chunks)))
    assert numpy.abs(shown_as - expected).max() <= (0 if expected is COLOURS else 2)
    assert (pixels(read_image(png(COLOURS, 8, 2, (b"sRGB", b"\0"), *chunks))) == COLOURS).all()


def test_transparency_stays_where_a_profile_is():
    image = Image.fromarray(COLOURS).convert("RGBA")
    image.putpixel((0, 0), (200, 100, 50, 0))
    read = pixels(read_image(saved(image, icc_profile=ADOBE_PROFILE)))
    assert read[0, 0].tolist() == [255, 255, 255]
    assert numpy.abs(read[0, 1:] - shown(COLOURS, 2.19921875, ADOBE)[0, 1:]).max() <= 2


def test_transparency_of_16_bits_is_laid_on_white():
    grey = numpy.array([[0x1234, 0x1235, 0xFFFF]], dtype=numpy.uint16)
    read = pixels(read_image(png(grey, 16, 0, (b"tRNS", struct.pack(">H", 0x1234)))))
    assert read[0, :, 0].tolist() == [255, 18, 255]
    coloured = numpy.array([[[0x1234, 0x5678, 0x9ABC], [0x2234, 0x5678, 0x9ABC]]], dtype=numpy.uint16)
    read = pixels(read_image(png(coloured, 16, 2, (b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)))))
    assert read[0].tolist() == [[255, 255, 255], [0x22, 0x56, 0x9A]]


def animation(**options):
    frames = [Image.new("RGB", (32, 24), colour) for colour in ("red", "blue", "lime")]
    return saved(frames[0], save_all=True, append_images=frames[1:], duration=500, **options)


def test_the_still_beside_an_animation_is_not_what_is_shown(tmp_path):
    hidden, plain = animation(default_image=True), animation()
    assert read_image(hidden).getpixel((0, 0)) == (0, 0, 255)
    assert read_image(plain).getpixel((0, 0)) == (255, 0, 0)
    clip = read_video(hidden, MediaConfig())["array"]
    assert clip[:, 0, 0].tolist() == [[0, 0, 255], [0, 255, 0]]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg to compare with")
def test_ffmpeg_shows_the_same_first_frame_of_an_animation(tmp_path):
    (tmp_path / "a.apng").write_bytes(animation(default_image=True))
    command = ["ffmpeg", "-v", "error", "-f", "apng", "-i", tmp_path / "a.apng", "-frames:v", "1"]
    drawn = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    assert drawn.stdout == read_image(tmp_path / "a.apng").tobytes()


def test_much_text_beside_the_pixels_is_in_nobodys_way():
    """As drawing programs and image generators write it: over the 1 MiB that Pillow reads unasked."""
    text = (b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 400_000))
    assert (pixels(read_image(png(COLOURS, 8, 2, text))) == COLOURS).all()


def test_more_text_than_is_read_is_told_in_a_sentence():
    text = (b"zTXt", b"workflow\0\0" + zlib.compress(bytes(70 * 2**20)))
    with pytest.raises(DataError, match="the image can't be read: "):
        read_image(png(COLOURS, 8, 2, text))


def test_avif_is_read_and_heic_says_what_to_install(tmp_path, monkeypatch):
    picture = Image.new("RGB", (32, 24), (200, 100, 50))
    assert numpy.abs(pixels(read_image(saved(picture, "AVIF"))) - (200, 100, 50)).max() <= 4
    heic = tmp_path / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"phone.heic: a HEIC image; to have it read, pip install pillow-heif"):
        read_image(heic)
