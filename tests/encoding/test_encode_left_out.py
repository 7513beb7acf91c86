"""What of the named inputs is not embedded is told, and nothing is embedded twice under one id."""

from __future__ import annotations

import os

import pytest
from PIL import Image

from mmst_cli.errors import ConfigError, DataError
from mmst_cli.inputs.collection import MODALITY_OF, open_sources
from mmst_cli.sources.places import find_files


def ids(*names, **options):
    return [item.id for source in open_sources(list(names), **options) for item in source.items()]


@pytest.fixture
def album(folder, monkeypatch):
    """Pages in folders, of which one can't be entered and one is a link."""
    for name in ("locked", "elsewhere"):
        (folder / "pages" / name).mkdir()
        Image.new("RGB", (8, 8)).save(folder / "pages" / name / "x.png")
    (folder / "pages" / "elsewhere").rename(folder / "elsewhere")
    (folder / "pages" / "link").symlink_to("../elsewhere")
    scan = os.scandir

    def refuse(path):  # by hand: the user of a test run may be allowed everything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


def test_folders_that_cannot_be_entered_or_are_links_are_told(album, encode, said, read_output, read_errors):
    result = encode(["pages"], album / "out")
    assert "pages: 1 folder (pages/locked) can't be entered" in " ".join(said.getvalue().split())
    assert "pages: 1 folder (pages/link) left out, for links aren't followed" in " ".join(said.getvalue().split())
    assert (result.count, result.failed) == (6, 1)
    assert read_errors(album / "out") == {"pages/locked": "the folder can't be entered: Permission denied"}


def test_a_link_that_is_named_itself_is_entered(album):
    assert ids("pages/link") == ["pages/link/x.png"]


def test_a_folder_of_nothing_else_says_so(album):
    (album / "only").mkdir()
    (album / "only" / "link").symlink_to("../pages")
    with pytest.raises(DataError, match=r"only 0 others. only/link is a link, which isn't followed\."):
        open_sources(["only"])
    with pytest.raises(DataError, match=r"pages/locked can't be entered \(Permission denied\)"):
        open_sources(["pages/locked"])


def test_tables_and_texts_beside_media_are_counted(folder, encode, said):
    for name in ("rows.csv", "rows.parquet", "more.jsonl.gz", "lines.txt"):
        (folder / "pages" / name).write_text("")
    encode(["pages"], folder / "out")
    assert "skipped 5 files" in said.getvalue() and "4 of them tables or texts" in said.getvalue()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["pages", "pages"], "pages is named twice"),
        (["pages/0.png", "./pages/0.png"], "./pages/0.png is named twice"),
        (["pages", "pages/0.png"], "pages/0.png is also in pages, and its id would stand twice"),
        (["pages/more/5.png", "pages/"], "pages/more/5.png is also in pages/"),
        (["pages/more", "pages"], "pages/more is also in pages"),
        (["pages/*.png", "pages/1*"], "pages/1.png, of pages/1*, is also in pages/*.png"),
        (["pages/*.png", "pages"], "pages/0.png, of pages/*.png, is also in pages"),
        (["lines.txt", "lines.txt"], "lines.txt is named twice"),
    ],
)
def test_an_input_that_is_named_twice_is_refused(folder, names, sentence):
    (folder / "lines.txt").write_text("one\n")
    with pytest.raises(ConfigError) as caught:
        open_sources(names)
    assert sentence in str(caught.value)


def test_what_only_looks_named_twice_is_read(folder):
    (folder / "pages" / "lines.txt").write_text("one\n")
    assert ids("pages", "pages/lines.txt")[-1] == "pages/lines.txt#0"
    (folder / "pages2").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "pages2" / "0.png")
    assert len(ids("pages", "pages2", "pages2/../pages/0.png")) == 8


def test_a_link_that_leads_back_gives_no_file_twice(folder):
    (folder / "pages" / "more").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8)).save(folder / "pages" / "more" / "9.png")
    (folder / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "elsewhere" / "y.png")
    there = ids("pages/**/*.png")
    for place, target in {"loop": "pages", "more/up": "pages", "more/away": "elsewhere", "twice": "elsewhere"}.items():
        (folder / "pages" / place).symlink_to(folder / target)
    assert ids("pages/**/*.png") == sorted([*there, "pages/twice/y.png"])
    assert ids("pages/**/more/*.png") == [name for name in there if "more" in name]
    assert ids("pages/*/more/9.png") == ["pages/loop/more/9.png"]


def test_folders_of_a_pattern_that_cannot_be_entered_are_told(album, caplog):
    for pattern in ("pages/**/*.png", "pages/*/*.png"):
        (source,) = open_sources([pattern])
        assert source.closed == ("pages/locked",)
        first = next(iter(source.items()))
        with pytest.raises(DataError, match="the folder can't be entered: Permission denied"):
            first.read()
        caplog.clear()
        find_files("datasets.train", pattern)
        assert "datasets.train.path" in caplog.text and "pages/locked can't be entered" in caplog.text
    (source,) = open_sources(["pages/*.png"])  # no file of that folder is meant
    assert source.closed == ()
    with pytest.raises(DataError, match=r"matches no file. pages/locked can't be entered"):
        find_files("datasets.train", "pages/locked/*.png")


SOUNDS, CLIPS = (".aif", ".aiff", ".au", ".caf"), (".m4v", ".mpg", ".mpeg", ".flv", ".mts")


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".jpe", ".jp2", ".ppm", ".pgm", ".tga"])
def test_further_kinds_of_images_are_read(tmp_path, suffix):
    form = {".jfif": "JPEG", ".jpe": "JPEG", ".jp2": "JPEG2000", ".pgm": "PPM"}.get(suffix, suffix[1:].upper())
    image = Image.new("L" if suffix == ".pgm" else "RGB", (32, 24), "white")
    image.save(tmp_path / f"a{suffix}", form)
    ((item,),) = [list(source.items()) for source in open_sources([str(tmp_path)])]
    assert item.read().size == (32, 24)


@pytest.mark.parametrize("suffix", SOUNDS + CLIPS)
def test_further_kinds_of_sounds_and_clips_are_read(tmp_path, suffix):
    av = pytest.importorskip("av")
    import numpy

    path, is_sound = tmp_path / f"a{suffix}", suffix in SOUNDS
    forms = {".mts": "mpegts", ".m4v": "mp4", ".aif": "aiff", ".mpg": "mpeg"}
    codecs = {".flv": "flv", ".m4v": "mpeg4", ".mts": "mpeg2video"}
    codec = codecs.get(suffix, "pcm_s16be" if is_sound else "mpeg1video")
    try:
        with av.open(str(path), "w", format=forms.get(suffix)) as container:
            stream = container.add_stream(codec, rate=16000 if is_sound else 25)
            if is_sound:
                stream.layout = "mono"
                frame = av.AudioFrame.from_ndarray(numpy.zeros((1, 16000), "int16"), format="s16", layout="mono")
                frame.sample_rate = 16000
                frames = [frame]
            else:
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                frames = [av.VideoFrame.from_ndarray(numpy.zeros((48, 64, 3), "uint8")) for _ in range(25)]
            for frame in [*frames, None]:
                container.mux(stream.encode(frame))
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"can't be written here: {error}")
    ((item,),) = [list(source.items()) for source in open_sources([str(path)])]
    assert item.modalities == (MODALITY_OF[suffix],)
    read = item.read()[str(MODALITY_OF[suffix])]["array"]
    assert len(read) == 16000 if is_sound else read.shape[1:] == (48, 64, 3)
