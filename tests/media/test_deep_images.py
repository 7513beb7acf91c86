"""Images of more than 8 bits a colour, where what Pillow decodes is not what the file shows."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess

import numpy
import pytest
from PIL import Image

from mmst_cli.errors import DataError
from mmst_cli.media.image import read_image

GREY = numpy.array([[0, 1000, 2048, 4095], [4095, 3, 700, 0]])  # of 12 bits


def tiff(values, bits, photometric):
    """A grey TIFF; of a photometric 0, 0 is white."""
    if bits == 12:
        pairs = values.reshape(-1, 2)
        data = b"".join(int(left << 12 | right).to_bytes(3, "big") for left, right in pairs)
    else:
        data = values.astype("<u2").tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + table + bytes(4)


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 0), (16, 1)])
def test_grey_tiffs_are_white_where_they_say_so(bits, photometric, tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(GREY if bits == 12 else GREY * 16, bits, photometric))
    expected = GREY / (4095 if bits == 12 else 4096)
    shown = numpy.asarray(read_image(tmp_path / "a.tif"))[..., 0].astype(float)
    assert numpy.abs(shown - 255 * (expected if photometric else 1 - expected)).max() <= 1
    if shutil.which("convert"):
        command = ["convert", tmp_path / "a.tif", "-depth", "8", "PNG:-"]
        other = subprocess.run(command, capture_output=True, check=True).stdout
        assert numpy.abs(numpy.asarray(Image.open(io.BytesIO(other)).convert("L")) - shown).max() <= 1


def test_deep_jpeg_2000_is_refused_whose_white_would_be_black(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, "JPEG2000")
    content = bytearray(buffer.getvalue())
    assert read_image(bytes(content)).getpixel((0, 0)) == (255, 255, 255)
    content[content.find(b"\xff\x4f\xff\x51") + 42] = 15
    (tmp_path / "scan.jp2").write_bytes(content)
    with pytest.raises(DataError, match=r"scan.jp2: a JPEG 2000 image of 16 bits a colour, which can't be read here"):
        read_image(tmp_path / "scan.jp2")
