"""Media of cells: named, written once, or put in."""

import json

import pytest
from datasets import Audio, Features, List, Value, Video
from datasets import Image as ImageFeature

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import DataError
from mmst_cli.media.content import ending_of, head_of
from mmst_cli.media.reading import Reader
from mmst_cli.mining.media_cells import MediaCells

PNG = b"\x89PNG\r\n\x1a\n rest"


@pytest.fixture
def cells(tmp_path):
    """A function giving what turns cells, for a file in ``new/`` made of a source in ``old/``."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "a.png").write_bytes(PNG)

    def make(embed=False, folder="new"):
        reader = Reader(MediaConfig(), tmp_path / "old")
        return MediaCells(tmp_path / folder, tmp_path / "new" / "m.media", reader, embed=embed)

    return make


@pytest.mark.parametrize(
    ("name", "ending"),
    [("x.JPG", ".jpg"), ("x", ".png"), (None, ".png"), ("x.jpg?size=3", ".png"), ("x.a/../../b", ".png")],
)
def test_embedded_media_are_files_named_by_their_content(name, ending, cells, tmp_path):
    cell = cells().cell(Modality.image, {"bytes": PNG, "path": name})
    assert cell["bytes"] is None and cell["path"].startswith("m.media/") and cell["path"].endswith(ending)
    assert (tmp_path / "new" / cell["path"]).read_bytes() == PNG
    assert cells().cell(Modality.image, {"bytes": PNG, "path": name}) == cell
    assert len(list((tmp_path / "new" / "m.media").iterdir())) == 1


def test_paths_lead_there_from_the_new_file(cells, tmp_path):
    assert cells().cell(Modality.image, "a.png") == str(tmp_path / "old" / "a.png")
    assert cells(folder="old").cell(Modality.image, "a.png") == "a.png"
    assert cells(folder=".").cell(Modality.image, "../old/a.png") == "old/a.png"
    assert cells(folder="old").cell(Modality.image, "b.pdf#3") == "b.pdf#3"
    assert cells().cell(Modality.image, "https://host/a.png") == "https://host/a.png"
    assert cells().cell(Modality.text, "a.png") == "a.png"
    assert cells().cell(Modality.image, None) is None


def test_what_is_inside_of_mappings_chats_and_lists(cells, tmp_path):
    there = str(tmp_path / "old" / "a.png")
    mixed = cells().cell(Modality.mixed, {"text": "a.png", "image": "a.png", "audio": None})
    assert mixed == {"text": "a.png", "image": there, "audio": None}
    chat = [{"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "a.png"}]}]
    turned = cells().cell(Modality.message, chat)
    assert turned[0]["content"] == [{"type": "image", "image": there}, {"type": "text", "text": "a.png"}]
    assert json.loads(cells().cell(Modality.message, json.dumps(chat))) == turned
    plain = json.dumps([{"role": "user", "content": "a.png"}])
    assert cells().cell(Modality.message, plain) == plain
    assert cells().cell(Modality.message, "not JSON") == "not JSON"
    assert cells().cell(Modality.video, [{"bytes": None, "path": "a.png"}]) == [{"bytes": None, "path": there}]
    sound = {"array": [0.0, 1.0], "sampling_rate": 8000}
    assert cells().cell(Modality.audio, sound) == sound
    assert cells(embed=True).cell(Modality.mixed, mixed)["image"] == {"bytes": PNG, "path": "a.png"}
    with pytest.raises(DataError, match="JSON text"):
        cells(embed=True).cell(Modality.message, json.dumps(chat))
    (tmp_path / "old" / "frames").mkdir()
    with pytest.raises(DataError, match="folder of frames"):
        cells(embed=True).cell(Modality.video, "frames")


def test_types_follow_their_cells(cells):
    named, put_in = cells(), cells(embed=True)
    assert named.feature(Value("string"), Modality.image) == Value("string")
    assert put_in.feature(Value("string"), Modality.image) == ImageFeature()
    assert named.feature(Value("binary"), Modality.audio) == Audio()
    assert put_in.feature(List(Value("string")), Modality.video) == List(Video())
    mixed = {"text": Value("string"), "image": Value("string")}
    assert put_in.feature(mixed, Modality.mixed) == {"text": Value("string"), "image": ImageFeature()}
    stored = {"bytes": Value("binary"), "path": Value("string")}
    assert put_in.feature(stored, Modality.image) == stored == named.feature(stored, Modality.image)
    assert Features({"x": named.feature(ImageFeature(), Modality.image)})["x"] == ImageFeature()


def test_endings_by_content():
    wave = b"RIFF\0\0\0\0WAVEfmt "
    assert [ending_of(head_of(c)) or ".bin" for c in (PNG, wave, b"\0\0\0 ftypisom", b"%PDF-1.4", b"what")] == [
        ".png",
        ".wav",
        ".mp4",
        ".pdf",
        ".bin",
    ]
