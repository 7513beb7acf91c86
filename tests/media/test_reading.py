"""One reader for all modalities."""

from __future__ import annotations

import errno
import http.server
import threading
from pathlib import Path

import numpy
import pytest
from PIL import Image

from mmst_cli.config.schema import MediaConfig, Modality
from mmst_cli.errors import DataError
from mmst_cli.media import content
from mmst_cli.media.frame_choice import whole_clip
from mmst_cli.media.reading import Reader


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    return tmp_path


@pytest.fixture
def reader(folder):
    return Reader(MediaConfig(), folder)


def test_text_is_text_whatever_it_says(reader):
    assert reader.read(Modality.text, "a.png") == {"text": "a.png"}
    assert reader.read(Modality.mixed, {"text": "a.png"}) == {"text": "a.png"}
    with pytest.raises(DataError, match=r"text is a string, found 3 \(int\)"):
        reader.read(Modality.text, 3)


def test_relative_paths_are_relative_to_the_folder(reader, folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    red = (255, 0, 0)
    monkeypatch.setenv("HOME", str(folder))
    for value in ("a.png", folder / "a.png", {"bytes": None, "path": "a.png"}, "~/a.png"):
        assert reader.read(Modality.image, value).getpixel((0, 0)) == red
    chat = reader.read(Modality.message, {"role": "user", "content": [{"image": "a.png"}]})
    assert chat[0]["content"][0]["image"].getpixel((0, 0)) == red
    assert len(reader.read(Modality.video, ["a.png", {"bytes": None, "path": "a.png"}])["array"]) == 2
    assert len(reader.read(Modality.video, ".")["array"]) == 1


def test_settings_reach_every_modality(folder, write_pdf, write_sound):
    write_pdf("b.pdf", pages=2)
    write_sound("c.wav")
    reader = Reader(MediaConfig(dpi=36, max_seconds=0.5, max_frames=1), folder, sampling_rate=8000)
    assert reader.read(Modality.image, "b.pdf#2").size == (72, 36)
    mixed = reader.read(
        Modality.mixed, {"image": "b.pdf#1", "audio": "c.wav", "video": ["a.png", "a.png"], "text": None}
    )
    assert mixed["image"].size == (36, 36)
    assert (len(mixed["audio"]["array"]), mixed["audio"]["sampling_rate"]) == (4000, 8000)
    assert mixed["video"]["array"].shape == (1, 6, 8, 3)
    assert list(mixed) == ["image", "audio", "video"]


def test_a_clip_too_short_for_the_model_shows_its_last_frame_on(reader, folder):
    Image.new("RGB", (8, 6), "blue").save(folder / "b.png")
    assert len(reader.read(Modality.video, ["a.png"])["array"]) == 1
    reader.least_frames = 4
    clip = reader.read(Modality.video, ["a.png", "b.png"])
    assert clip["array"][:, 0, 0].tolist() == [[255, 0, 0], *[[0, 0, 255]] * 3]
    assert clip["video_metadata"] == whole_clip(4, fps=24.0)
    assert len(reader.read(Modality.video, ["a.png"] * 5)["array"]) == 5


@pytest.mark.parametrize(
    ("modality", "value", "sentence"),
    [
        (Modality.image, "none.png", "no such file: .*none.png"),
        (Modality.image, None, "there is no image here: the value is empty"),
        (Modality.image, "none.pdf#3", "no such file: .*none.pdf$"),
        (Modality.image, "s3://host/a.png", "s3://host/a.png: media are read from files and http"),
        (Modality.image, "http://host/a.png", "found the address http://host/a.png, and nothing is fetched unless"),
        (Modality.mixed, {"image": "http://host/a.png"}, "image: found the address"),
        (Modality.mixed, {"text": None, "image": None}, "all parts of this mixed input are empty"),
        (Modality.mixed, {}, "all parts of this mixed input are empty"),
        (Modality.mixed, {"imge": "a.png"}, r"holds text, image, audio, video; found imge\. Did you mean image\?"),
        (Modality.mixed, "a.png", "a mapping of modalities to values, found str"),
        (Modality.mixed, {"text": "a", "image": "none.png"}, "image: no such file"),
    ],
)
def test_what_cant_be_read_is_told(reader, modality, value, sentence):
    with pytest.raises(DataError, match=sentence):
        reader.read(modality, value)


@pytest.fixture
def server(folder):
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_addresses_are_fetched_once_where_allowed(folder, server, monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path_factory.mktemp("cache")))
    address, asked = server
    reader = Reader(MediaConfig(), folder, allow_urls=True)
    for _ in range(2):
        image = reader.read(Modality.image, f"{address}/a.png")
        assert numpy.asarray(image).shape == (6, 8, 3)
    assert asked == ["/a.png"]
    with pytest.raises(DataError, match=rf"{address}/none.png can't be fetched: HTTP Error 404"):
        reader.read(Modality.image, f"{address}/none.png")
    (folder / "large.png").write_bytes(bytes(101))
    monkeypatch.setattr(content, "MAX_DOWNLOAD", 100)
    with pytest.raises(DataError, match=r"large.png is over"):
        reader.read(Modality.image, f"{address}/large.png")


@pytest.mark.parametrize("modality", [Modality.image, Modality.audio, Modality.video])
@pytest.mark.parametrize(
    "raised", [KeyError("exif"), IndexError("list index out of range"), RuntimeError("no decoder")]
)
def test_whatever_a_decoder_raises_is_an_error_of_the_input(monkeypatch, modality, raised):
    def broken(*arguments, **keywords):
        raise raised

    monkeypatch.setattr(f"mmst_cli.media.reading.read_{modality}", broken)
    with pytest.raises(DataError, match=f"the {modality} can't be read: .*{raised.args[0]}") as found:
        Reader(MediaConfig(), Path()).read(modality, b"x")
    assert found.value.__cause__ is raised


@pytest.mark.parametrize("raised", [MemoryError(), KeyboardInterrupt(), OSError(errno.EMFILE, "Too many open files")])
def test_what_is_due_to_no_input_passes_through(monkeypatch, raised):
    def broken(*arguments, **keywords):
        raise raised

    monkeypatch.setattr("mmst_cli.media.reading.read_image", broken)
    with pytest.raises(type(raised)):
        Reader(MediaConfig(), Path()).read(Modality.image, b"x")
