"""What single cells are taken for."""

import io

import pytest
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.drafting.column_contents import Other, contents_of, look_at


def png():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder with an image, an image without an ending, a folder of frames and one of nothing."""
    for path in ("a.png", "bare", "frames/1.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(png())
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("words")
    return tmp_path


CELLS = {
    "a text": ("what is this?", Modality.text),
    "a text longer than a file's name may be": ("long " * 80, Modality.text),
    "a text of one long word": ("x" * 300, Modality.text),
    "a text with a zero in it": ("a\0b.c", Modality.text),
    "several lines": ("a.png\nb.png", Modality.text),
    "the name of a folder of nothing": ("empty", Modality.text),
    "the folder itself": (".", Modality.text),
    "a file that is no medium": ("notes.md", Modality.text),
    "a number": ("-1.5e3", Other.number),
    "nothing": ("  ", Other.nothing),
    "true": (True, Other.number),
    "a path": ("a.png", Modality.image),
    "a path without an ending": ("bare", Modality.image),
    "a path of nothing": ("b.png", Modality.image),
    "a folder of frames": ("frames", Modality.video),
    "an address of an image": ("https://host/a.jpg?size=3", Modality.image),
    "an address": ("https://host/page", Modality.text),
    "bytes": (png(), Modality.image),
    "other bytes": (b"no medium at all", Other.unknown),
    "stored media": ({"bytes": png(), "path": None}, Modality.image),
    "stored paths": ({"bytes": None, "path": "a.png"}, Modality.image),
    "a sound's array": ({"array": [0.0], "sampling_rate": 8000}, Modality.audio),
    "a mapping": ({"x": 1}, Other.unknown),
    "parts": ({"text": "a", "image": "a.png"}, Modality.mixed),
    "a chat": ([{"role": "user", "content": "a"}], Modality.message),
    "a chat in JSON": ('[{"role": "user", "content": "a"}]', Modality.message),
    "a list in JSON": ('["a", "b"]', Modality.text),
    "broken JSON": ("[a", Modality.text),
    "texts": (["a b", "c d"], Modality.text),
    "numbers": ([1.0, 2.0], Other.numbers),
    "an empty list": ([], Other.nothing),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_cell(case, folder):
    cell, kind = CELLS[case]
    look = look_at(cell, folder)
    assert look.kind == kind
    assert (look.lost is not None) == (case == "a path of nothing")
    assert look.url == (case == "an address of an image")


def test_a_column_is_what_nearly_all_of_its_cells_are(folder):
    assert contents_of("a", ["a.png"] * 19 + ["words"], folder).kind is Modality.image
    assert contents_of("a", ["a.png"] * 9 + ["words"] * 3, folder).kind is Other.unknown
    assert contents_of("a", ["1", "2", "three"], folder).kind is Modality.text
    assert contents_of("a", [None, "", None], folder).kind is Other.nothing
    assert contents_of("a", [["x y"], [], ["x y", "z"]], folder).lists == (0, 2)
    assert contents_of("a", [b"odd"], folder, noted=Modality.image).kind is Modality.image
