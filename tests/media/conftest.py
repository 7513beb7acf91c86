"""Media that the tests write themselves."""

from __future__ import annotations

import functools
from fractions import Fraction

import numpy
import pytest

RATE = 16000


@pytest.fixture
def torchcodec():
    """Torchcodec's decoders, another opinion on what a file holds; skips where FFmpeg's libraries are missing."""
    decoders = pytest.importorskip("torchcodec.decoders")
    try:
        decoders.AudioDecoder(b"")
    except ValueError:  # it was asked to decode nothing, and could say so
        return decoders
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "libtorchcodec" not in str(error):
            return decoders
        pytest.skip(f"torchcodec does not load: {error}")


def make_tone(seconds=1.0, rate=RATE):
    """Two channels of shape (samples, 2), the second one half as loud."""
    tone = 0.4 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(int(seconds * rate)) / rate)
    return numpy.stack([tone, tone / 2], axis=1).astype(numpy.float32)


@pytest.fixture
def tone():
    return make_tone()


@pytest.fixture
def write_sound(tmp_path):
    """Write a tone to a file whose format its name says, and return the path."""
    return functools.partial(_write_sound, tmp_path)


def _write_sound(folder, name, samples=None, rate=RATE, subtype=None):
    samples = make_tone() if samples is None else samples
    path = folder / name
    if path.suffix not in (".m4a", ".aac"):
        import soundfile

        form = "OGG" if path.suffix == ".opus" else None
        soundfile.write(path, samples, rate, format=form, subtype="OPUS" if path.suffix == ".opus" else subtype)
        return path
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def draw_frames(count=20, width=64, height=48):
    """A bar that moves to the right and grows redder: frame number n is told by its colour."""
    frames = numpy.zeros((count, height, width, 3), dtype=numpy.uint8)
    for number, frame in enumerate(frames):
        frame[:, :, 0] = number * 10 % 256
        frame[height // 4 : height // 2, number : number + width // 4] = (40, 200, 90)
    return frames


@pytest.fixture
def frames():
    return draw_frames()


CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".mkv": "libx264", ".mov": "mpeg4", ".avi": "mpeg4"}


@pytest.fixture
def write_clip(tmp_path):
    """Write frames to a file whose format its name says, and return the path."""

    def write(name, frames=None, fps=10, rotation=0, gop=5, aspect=None, moments=None):
        import av

        frames = draw_frames() if frames is None else frames
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(CODECS[path.suffix], rate=fps)
            stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
            stream.gop_size = gop
            if aspect:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation:
                stream.set_display_rotation(rotation)
            for number, frame in enumerate(frames):
                shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
                if moments:  # in ms
                    stream.codec_context.time_base = shown.time_base = Fraction(1, 1000)
                    shown.pts = moments[number]
                container.mux(stream.encode(shown))
            for packet in stream.encode(None):
                container.mux(packet)
        return path

    return write


@pytest.fixture
def write_pdf(tmp_path):
    """Write a PDF of so many pages, each 72 points wider than the one before, and return the path."""

    def write(name="file.pdf", pages=3, width=72, height=72):
        import pypdfium2

        document = pypdfium2.PdfDocument.new()
        for page in range(pages):
            document.new_page(width * (page + 1), height)
        document.save(tmp_path / name)
        document.close()
        return tmp_path / name

    return write
