"""Images in every form, each as the RGB image that it stands for."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy
import pytest
from PIL import Image, ImageOps

from mmst_cli.errors import DataError
from mmst_cli.media.image import read_image, read_small_image

WIDTH, HEIGHT = 40, 30


@pytest.fixture
def picture():
    return Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=numpy.uint8))


def encode(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def same(left, right):
    return left.mode == right.mode == "RGB" and numpy.array_equal(numpy.asarray(left), numpy.asarray(right))


def png_header(width, height):
    """A PNG file that says it has this size, and holds no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_every_form_is_the_same_image(picture, tmp_path):
    file = tmp_path / "a.png"
    picture.save(file)
    forms = [
        picture,
        file,
        str(file),
        file.read_bytes(),
        {"bytes": file.read_bytes(), "path": "elsewhere.png"},
        {"bytes": None, "path": str(file)},
        numpy.asarray(picture),
        numpy.asarray(picture).tolist(),
        numpy.asarray(picture).astype(numpy.int64),
    ]
    for form in forms:
        assert same(read_image(form), picture)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_an_opaque_image_is_what_pillow_converts_it_to(picture, form, mode):
    if form == "JPEG" and mode in "P1":
        pytest.skip("JPEG has no such mode")
    content = encode(picture.convert(mode), form)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert same(read_image(content), expected)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_rotation_is_applied(picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_image(encode(picture, exif=exif.tobytes()))
    assert read.size == ((HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT))
    assert same(read, ImageOps.exif_transpose(Image.open(io.BytesIO(encode(picture, exif=exif.tobytes())))))


def test_cmyk_is_converted_as_pillow_does(picture):
    content = encode(picture.convert("CMYK"), "JPEG")
    assert same(read_image(content), Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(form):
    values = numpy.array([[0, 257, 32896, 65535]], dtype=numpy.uint16)
    read = numpy.asarray(read_image(encode(Image.fromarray(values), form)))
    assert read[0, :, 0].tolist() == [0, 1, 128, 255]
    assert numpy.array_equal(read, numpy.asarray(read_image(values)))


def test_transparency_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 0, 0, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    for content in (encode(image), encode(image, "WEBP", lossless=True), encode(palette, transparency=0)):
        read = read_image(content)
        assert [read.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 0, 0)]


def test_an_animation_is_its_first_frame():
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    content = encode(first, "GIF", save_all=True, append_images=[second])
    assert read_image(content).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"just text", "no image format that is known"),
        (b"", "0 bytes"),
        ("nowhere.png", "no such file: nowhere.png"),
        ("x" * 5000, "no such file"),
        ({"bytes": None, "path": None}, "neither bytes nor a path"),
        ({"file": "a.png"}, "found a mapping of file"),
        (3.5, "found float"),
        ([[0.5, 0.1]], "whole numbers from 0 to 255, found shape .* of float64"),
        ([[300, 1]], "found 1 to 300"),
        ([[1, 2], [3]], "differ in length"),
        (numpy.zeros((4, 4, 2), dtype=numpy.uint8), "found shape"),
        (numpy.zeros((10, 4000), dtype=numpy.uint8), "an image of 4000x10 pixels; models take aspect ratios up to 200"),
        (Image.new("RGB", (4000, 10)), "aspect ratios up to 200"),
        (Image.new("F", (4, 4)), "an image of floats"),
        (Image.fromarray(numpy.full((2, 2), 70000, dtype=numpy.int32)), "values from 70000"),
        (png_header(20000, 20000), "an image of over 178,956,970 pixels"),
        ("report.docx", "convert it to PDF first: libreoffice"),
    ],
)
def test_what_is_no_image_is_told_in_a_sentence(source, sentence):
    with pytest.raises(DataError, match=sentence) as raised:
        read_image(source)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_a_truncated_file_is_told_in_a_sentence(picture, tmp_path, form):
    content = encode(picture.resize((200, 200)), form)
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half: (the image can't be read|no image format)"):
        read_image(tmp_path / "half")


def test_large_images_below_the_bound_are_read_without_a_warning(tmp_path):
    Image.new("1", (9500, 9500)).save(tmp_path / "large.png")
    script = "import sys; from mmst_cli.media.image import read_image; print(read_image(sys.argv[1]).size)"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large.png")], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("(9500, 9500)\n", "")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_read_at_a_smaller_scale_and_knows_its_full_size(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.linear_gradient("L").resize((1600, 800)).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    small, size = read_small_image(tmp_path / "a.jpg", 100)
    whole = read_image(tmp_path / "a.jpg")
    assert size == whole.size
    assert small.size == (whole.width // 8, whole.height // 8)
    assert numpy.abs(numpy.asarray(small.resize((20, 20)), int) - numpy.asarray(whole.resize((20, 20)), int)).max() < 8


def test_what_is_no_large_jpeg_is_read_whole(tmp_path):
    Image.new("RGB", (300, 200), "red").save(tmp_path / "a.png")
    Image.new("RGB", (110, 100), "red").save(tmp_path / "b.jpg")
    assert read_small_image(tmp_path / "a.png", 100)[0].size == (300, 200)
    assert read_small_image(tmp_path / "b.jpg", 100)[0].size == (110, 100)


def test_a_truncated_jpeg_is_found_at_a_smaller_scale_too(tmp_path):
    path = tmp_path / "a.jpg"
    Image.effect_noise((1600, 1600), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="truncated"):
        read_small_image(path, 100)
