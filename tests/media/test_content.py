import io
import os

import numpy
import pytest
import scipy.io.wavfile
from PIL import Image

from mmst_cli.config.schema import Modality
from mmst_cli.errors import DataError
from mmst_cli.media.content import HEAD, TAIL, ending_of, ends_of, looks_broken
from mmst_cli.media.file_stamps import stamp_of_file
from mmst_cli.media.image import read_image

IMAGES = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]
SOUNDS = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16")]


def broken(modality, content):
    return looks_broken(modality, content[:HEAD], content[-TAIL:])


def noise():
    return Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (24, 24, 3), numpy.uint8))


def sound(kind, subtype):
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, numpy.sin(numpy.arange(8000) / 9), 8000, format=kind, subtype=subtype)
    return file.getvalue()


def clip(kind):
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width = stream.height = 32
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_image(noise().resize((32, 32)))))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("kind", IMAGES)
def test_whole_images(kind, encoded):
    assert not broken(Modality.image, encoded(noise(), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_half_images(kind, encoded):
    content = encoded(noise(), kind)
    assert broken(Modality.image, content[: len(content) // 2])
    assert broken(Modality.video, content[: len(content) // 2])  # a frame


@pytest.mark.parametrize(("kind", "subtype"), SOUNDS)
def test_whole_sounds(kind, subtype):
    content = sound(kind, subtype)
    assert not broken(Modality.audio, content)
    assert broken(Modality.image, content)


@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "avi"])
def test_whole_clips(kind):
    assert not broken(Modality.video, clip(kind))
    assert broken(Modality.image, clip(kind))


@pytest.mark.parametrize("modality", [Modality.image, Modality.audio, Modality.video])
@pytest.mark.parametrize("content", [b"", b"a sentence", b"<html></html>", b"{}", bytes(200)])
def test_what_is_no_medium(modality, content):
    assert broken(modality, content)


def test_sounds_and_images_are_not_each_other(encoded):
    scipy.io.wavfile.write(file := io.BytesIO(), 8000, numpy.zeros(9, numpy.int16))
    assert broken(Modality.image, file.getvalue())
    assert broken(Modality.video, file.getvalue())
    assert broken(Modality.audio, encoded(noise(), "WEBP"))


@pytest.mark.parametrize(
    ("head", "ending"),
    [
        (b"\xff\xfb\x90\x64", ".mp3"),  # without a tag
        (b"\xff\xf3\x88\x64", ".mp3"),  # MPEG-2
        (b"\xff\xf1\x50\x80", ".aac"),
        (b"ID3\3\0\0\0\0\0\0", ".mp3"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", ".jpg"),
        (b"RF64\xff\xff\xff\xffWAVEds64", ".wav"),
        (b"RIFF\0\0\0\0WEBPVP8X", ".webp"),
        (b"RIFF\0\0\0\0CDR ", None),
        (b"\0\0\0\x18ftypheic", ".heic"),
        (b"\0\0\0\x20ftypavif", ".avif"),
        (b"\0\0\0\x20ftypM4A ", ".m4a"),
        (b"\0\0\0\x20ftypisom", ".mp4"),
        (b"\0\0\0\x08wide", ".mov"),
        (bytes(16), None),
        (b"", None),
    ],
)
def test_endings_by_the_first_bytes(head, ending):
    assert ending_of(head) == ending


@pytest.mark.parametrize("size", [0, 3, HEAD, TAIL, 1000])
def test_the_ends_of_a_file(size, tmp_path):
    content = bytes(n % 251 for n in range(size))
    (tmp_path / "a").write_bytes(content)
    assert ends_of(tmp_path / "a") == (content[:HEAD], content[-TAIL:])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert stamp_of_file(tmp_path / "pipe.png") == b""
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "pipe.png")
