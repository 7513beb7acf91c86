import io
import random

import datasets
import numpy
import pytest
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.data import checks
from mmst_cli.data.checks import check_column, looks_cut_off, sample_rows
from mmst_cli.errors import DataError

QUICK_END = ["PNG", "JPEG", "GIF"]
KINDS = [*QUICK_END, "WEBP", "BMP", "TIFF"]


def noise(seed=0, side=24):
    pixels = numpy.random.default_rng(seed).integers(0, 256, (side, side, 3), numpy.uint8)
    return Image.fromarray(pixels)


def embedded(contents):
    values = [{"bytes": content, "path": None} for content in contents]
    return datasets.Dataset.from_dict({"image": values}, features=datasets.Features({"image": datasets.Image()}))


def check(rows, seed=0):
    check_column("train", "image", Modality.image, rows, seed)


def fault(rows):
    with pytest.raises(DataError) as caught:
        check(rows)
    return str(caught.value)


@pytest.fixture
def decoded(monkeypatch):
    """The rows that were decoded in full."""
    rows, decode = [], checks._decode
    monkeypatch.setattr(checks, "_decode", lambda at, name, r, row: rows.append(row) or decode(at, name, r, row))
    return rows


def test_the_sample_has_the_first_and_last_row_and_is_seeded():
    sample = sample_rows(1000, 7)
    assert sample == sorted(set(sample)) == sample_rows(1000, 7)
    assert (sample[0], sample[-1]) == (0, 999)
    assert 30 <= len(sample) <= 32
    assert sample != sample_rows(1000, 8)
    assert sample_rows(1, 0) == [0]
    assert sample_rows(5, 0) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", QUICK_END)
def test_a_truncated_image_in_row_17_of_200(kind, encoded, decoded):
    content = encoded(noise(), kind)
    assert 17 not in sample_rows(200, 0)
    rows = embedded([content] * 17 + [content[: len(content) // 2]] + [content] * 182)
    assert fault(rows).startswith("datasets.train, row 17, column image: can't be decoded as an image (")


@pytest.mark.parametrize("lost", [1, 2, 12, 70])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_few_bytes_short(kind, lost, encoded):
    content = encoded(noise(), kind)
    rows = embedded([content] * 17 + [content[:-lost]] + [content] * 182)
    try:
        check(rows)
    except DataError as error:
        assert "row 17," in str(error)
    else:  # Pillow reads it, so a run would
        assert rows[17]["image"].load()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [b"\0" * 3, b"\0" * 5000, b"SAMSUNG" * 100])
def test_bytes_behind_the_end_are_no_fault(kind, behind, encoded):
    content = encoded(noise(), kind)
    check(embedded([content] * 5 + [content + behind] + [content] * 194))


@pytest.mark.parametrize("kind", KINDS)
def test_whole_images_never_look_cut_off(kind, encoded):
    content = encoded(noise(), kind)
    assert not looks_cut_off(content[: checks.HEAD], content[-checks.TAIL :])


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"GIF8", b"some prose that is no image at all", b"<html></html>"])
def test_what_is_no_image(content, encoded):
    whole = encoded(noise())
    message = fault(embedded([whole] * 17 + [content] + [whole] * 182))
    assert message.startswith("datasets.train, row 17, column image: can't be decoded as an image (")
    assert "object at 0x" not in message


def test_a_truncated_file_is_named(tmp_path, encoded):
    for number in range(40):
        content = encoded(noise(number), "JPEG")
        (tmp_path / f"{number}.jpg").write_bytes(content[:-200] if number == 17 else content)
    paths = [str(tmp_path / f"{number}.jpg") for number in range(40)]
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    assert "row 17," in fault(rows)
    assert paths[17] in fault(rows)


def test_a_file_that_went_away(tmp_path):
    rows = datasets.Dataset.from_dict({"image": [str(tmp_path / "gone.png")]})
    assert "row 0, column image: can't be read" in fault(rows.cast_column("image", datasets.Image()))


def test_few_embedded_images_are_decoded(encoded, decoded):
    check(embedded([encoded(noise(), "JPEG")] * 2000))
    assert decoded == sample_rows(2000, 0)


def test_few_image_files_are_decoded_and_the_last_of_many_is(tmp_path, encoded, decoded, monkeypatch):
    monkeypatch.setattr(checks, "MAX_FILES", 50)
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    (tmp_path / "broken.png").write_bytes(encoded(noise())[:100])
    paths = [str(tmp_path / "a.png")] * 299 + [str(tmp_path / "broken.png")]
    rows = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
    assert "row 299," in fault(rows)
    assert len(decoded) <= 32


@pytest.mark.filterwarnings("ignore")
def test_broken_decoders_of_every_kind_are_one_sentence(encoded):
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    noise().save(file, "JPEG", exif=exif)
    for whole in (encoded(noise(), "PNG"), file.getvalue(), encoded(noise(), "TIFF")):
        for _ in range(150):
            content = bytearray(whole)
            for _ in range(3):
                content[rng.randrange(120)] = rng.randrange(256)
            try:
                check(embedded([bytes(content)]))
            except DataError as error:
                assert str(error).startswith("datasets.train, row 0, column image: ")


@pytest.mark.parametrize("size", [(1, 300), (2500, 12)])
def test_an_aspect_ratio_that_no_model_takes(size, encoded):
    message = fault(embedded([encoded(Image.new("L", size))]))
    assert message.startswith(f"datasets.train, row 0, column image: an image of {size[0]}x{size[1]} pixels")


def test_row_numbers_across_many_batches(encoded):
    whole = encoded(Image.new("L", (4, 4)))
    rows = embedded([whole] * 2345 + [whole[:40]] + [whole] * 700)
    assert "row 2345," in fault(rows)
    shuffled = rows.select(range(2000, 3000))
    assert "row 345," in fault(shuffled)
