import io
import random
from pathlib import Path

import datasets
import numpy
import pytest
import scipy.io.wavfile
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, MediaConfig, Modality, Role
from mmst_cli.errors import DataError
from mmst_cli.media.reading import Reader
from mmst_cli.rows import media_checks as looks
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.row_checks import check_inputs, sample_rows
from mmst_cli.rows.row_preparation import declare, keep_columns, number_rows

QUICK_END = ["PNG", "JPEG", "GIF"]
KINDS = [*QUICK_END, "WEBP", "BMP", "TIFF"]


def noise(seed=0, side=24):
    pixels = numpy.random.default_rng(seed).integers(0, 256, (side, side, 3), numpy.uint8)
    return Image.fromarray(pixels)


def embedded(contents):
    values = [{"bytes": content, "path": None} for content in contents]
    return datasets.Dataset.from_dict({"image": values}, features=datasets.Features({"image": datasets.Image()}))


def binary(contents):
    return datasets.Dataset.from_dict({"image": contents})


@pytest.fixture
def wav():
    """A function giving the content of a short WAV file."""

    def make(seconds=0.1):
        samples = numpy.sin(numpy.arange(int(8000 * seconds)) / 9)
        scipy.io.wavfile.write(file := io.BytesIO(), 8000, (samples * 9999).astype(numpy.int16))
        return file.getvalue()

    return make


def keep(rows, modality=Modality.image):
    column = declare("image", ColumnConfig(role=Role.positive, modality=modality))
    return keep_columns("train", number_rows("train", rows), [column], Reader(MediaConfig(), Path()))


def check(rows, modality=Modality.image):
    check_inputs(keep(rows, modality), 0)


def fault(rows, modality=Modality.image):
    with pytest.raises(DataError) as caught:
        check(rows, modality)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def decoded(monkeypatch):
    """The rows that were decoded in full."""
    rows, read = [], RowSet.value_at
    monkeypatch.setattr(RowSet, "value_at", lambda self, column, row: rows.append(row) or read(self, column, row))
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
    message = fault(rows)
    assert message.startswith("datasets.train, row 17, column image: ")
    assert message.endswith(" Replace the file, or remove the row.")


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
        assert rows[17]["image"].load() is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [b"\0" * 3, b"\0" * 5000, b"SAMSUNG" * 100])
def test_bytes_behind_the_end_are_no_fault(kind, behind, encoded):
    content = encoded(noise(), kind)
    check(embedded([content] * 5 + [content + behind] + [content] * 194))


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"GIF8", b"some prose that is no image at all", b"<html></html>"])
def test_what_is_no_image(content, encoded):
    whole = encoded(noise())
    message = fault(embedded([whole] * 17 + [content] + [whole] * 182))
    assert message.startswith("datasets.train, row 17, column image: ")
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
    assert "row 0, column image: no such image file: " in fault(rows.cast_column("image", datasets.Image()))


def test_few_embedded_images_are_decoded(encoded, decoded):
    check(embedded([encoded(noise(), "JPEG")] * 2000))
    assert decoded == sample_rows(2000, 0)


def test_few_image_files_are_decoded_and_the_last_of_many_is(tmp_path, encoded, decoded, monkeypatch):
    monkeypatch.setattr(looks, "MAX_FILES", 50)
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
    column = declare("image", ColumnConfig(role=Role.positive, modality=Modality.image))
    chosen = number_rows("train", rows).select(range(2000, 3000))
    with pytest.raises(DataError, match="row 2345,"):
        check_inputs(keep_columns("train", chosen, [column], Reader(MediaConfig(), Path())), 0)


def test_a_wav_with_the_bytes_of_a_text_file_in_row_171_of_200(wav):
    rows = binary([wav()] * 171 + [b"some prose that is no sound"] + [wav()] * 28)
    assert 171 not in sample_rows(200, 0)
    message = fault(rows, Modality.audio)
    assert message.startswith("datasets.train, row 171, column image: ")
    assert message.endswith("Replace the file, or remove the row.")


def test_images_declared_sound_and_sounds_declared_image(encoded, wav):
    assert "row 0, column image: " in fault(binary([encoded(noise())] * 3), Modality.audio)
    assert "row 0, column image: " in fault(binary([wav()] * 3), Modality.image)


def test_texts_declared_sound():
    rows = datasets.Dataset.from_dict({"image": ["a dog barks", "rain"]})
    assert fault(rows, Modality.audio).startswith("datasets.train, row 0, column image: no such audio file: ")


def test_one_file_of_200_is_missing(tmp_path, wav):
    (tmp_path / "a.wav").write_bytes(wav())
    rows = datasets.Dataset.from_dict(
        {"image": [str(tmp_path / ("b.wav" if n == 42 else "a.wav")) for n in range(200)]}
    )
    assert fault(rows, Modality.audio).startswith("datasets.train, row 42, column image: no such audio file: ")


def test_few_sounds_are_decoded(wav, decoded):
    check(binary([wav()] * 500), Modality.audio)
    assert decoded == sample_rows(500, 0)


def test_a_frame_is_missing_in_a_list_of_frames(tmp_path, encoded):
    (tmp_path / "0.png").write_bytes(encoded(noise()))
    frames = [str(tmp_path / "0.png")] * 3
    rows = datasets.Dataset.from_dict({"image": [frames] * 40 + [[*frames, str(tmp_path / "1.png")]] + [frames] * 159})
    assert fault(rows, Modality.video).startswith("datasets.train, row 40, column image: no such video file: ")
