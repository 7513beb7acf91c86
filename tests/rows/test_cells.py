import numpy
import pytest
from datasets import Array3D, Audio, Dataset, Features, Image, Json, List, Value, Video

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.rows.cells import array_type, fits, holds_lists, to_array
from mmst_cli.sources.tables import leave_undecoded

TEXT, BYTES, NUMBER = Value("string"), Value("binary"), Value("uint8")
MESSAGES = List({"role": TEXT, "content": TEXT})


@pytest.mark.parametrize(
    ("feature", "modality", "expected"),
    [
        (TEXT, Modality.text, False),
        (List(TEXT), Modality.text, True),
        (List(Image()), Modality.image, True),
        (List({"bytes": BYTES, "path": TEXT}), Modality.image, True),
        (List(List(NUMBER)), Modality.image, False),
        (List(List(List(NUMBER))), Modality.image, False),
        (List(NUMBER), Modality.audio, False),
        (List({"array": List(Value("float32")), "sampling_rate": NUMBER}), Modality.audio, True),
        (List(TEXT), Modality.video, False),
        (List(Image()), Modality.video, False),
        (List(List(Image())), Modality.video, True),
        (List(Video()), Modality.video, True),
        (List(List(List(List(NUMBER)))), Modality.video, False),
        (MESSAGES, Modality.message, False),
        (List(MESSAGES), Modality.message, True),
        (List(TEXT), Modality.message, True),
        (List({"text": TEXT, "image": Image()}), Modality.mixed, True),
    ],
)
def test_lists_of_inputs(feature, modality, expected):
    assert holds_lists(feature, modality) is expected


@pytest.mark.parametrize(
    ("feature", "modality", "expected"),
    [
        (Value("large_string"), Modality.text, True),
        (NUMBER, Modality.text, False),
        (Json(), Modality.text, True),
        (Json(), Modality.message, True),
        (Image(), Modality.image, True),
        (Audio(), Modality.image, False),
        (Image(), Modality.video, True),
        (Image(), Modality.audio, False),
        (NUMBER, Modality.audio, False),
        ({"array": List(NUMBER), "sampling_rate": NUMBER}, Modality.audio, True),
        ({"array": List(NUMBER)}, Modality.image, False),
        ({"a": TEXT}, Modality.mixed, True),
        (TEXT, Modality.mixed, False),
        (NUMBER, Modality.message, False),
        (Value("null"), Modality.text, True),
    ],
)
def test_types_that_can_hold_a_modality(feature, modality, expected):
    assert fits(feature, modality) is expected


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (List(List(NUMBER)), "uint8"),
        (Array3D((2, 2, 3), "int16"), "int16"),
        ({"array": List(Value("float64")), "sampling_rate": NUMBER}, "float64"),
        (List(TEXT), None),
        (NUMBER, None),
        (Image(), None),
        ({"bytes": BYTES}, None),
    ],
)
def test_what_arrays_are_of(feature, expected):
    assert array_type(feature) == expected


def test_lists_become_arrays_of_their_type():
    assert to_array([[1, 2], [3, 4]], "uint16").dtype == numpy.uint16
    sound = to_array({"array": [0.5], "sampling_rate": 8}, "float64")
    assert (sound["array"].tolist(), sound["sampling_rate"]) == ([0.5], 8)
    assert to_array(None, "uint8") is None
    assert to_array({"array": None}, "uint8") == {"array": None}


@pytest.mark.parametrize("value", [[[1], [2, 3]], [[1, None], [2, 3]], [1, [2]]])
def test_lists_that_are_no_array(value):
    with pytest.raises(DataError, match="differ in length, or a number is missing"):
        to_array(value, "uint8")


def test_media_are_left_undecoded_wherever_they_are():
    features = Features({"a": Image(), "b": List(Image()), "c": {"image": Image(), "text": TEXT}, "d": Json()})
    cell = {"bytes": b"broken", "path": None}
    rows = Dataset.from_dict({"a": [cell], "b": [[cell]], "c": [{"image": cell, "text": "x"}], "d": [[1]]}, features)
    (row,) = leave_undecoded(rows, list("abcd"))
    assert row == {"a": cell, "b": [cell], "c": {"image": cell, "text": "x"}, "d": [1]}


def test_leaving_media_undecoded_copies_nothing(tmp_path):
    features = Features({"c": {"image": Image(), "text": TEXT}})
    rows = Dataset.from_dict({"c": [{"image": {"bytes": b"broken", "path": None}, "text": "x"}] * 9}, features)
    rows.save_to_disk(tmp_path / "saved")
    saved = Dataset.load_from_disk(tmp_path / "saved")
    chosen = leave_undecoded(saved.select([3, 1]), ["c"])
    assert len(chosen) == 2
    assert chosen.cache_files == saved.cache_files
    assert chosen[1]["c"]["image"]["bytes"] == b"broken"
    assert chosen.select_columns(["c"]).select([0])[0]["c"]["image"]["bytes"] == b"broken"
    assert saved.features == features
