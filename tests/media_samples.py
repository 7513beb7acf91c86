"""Sounds, clips and documents for tests, all generated."""

import io
import wave

import numpy
from PIL import Image, ImageDraw

RATE = 8000  # samples a second, what builtin:tiny-clap hears

# A PDF that asks for a password: encrypted by the standard handler, with keys that fit none.
LOCKED = (
    b"""%PDF-1.4
1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj
2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj
3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 72 72]>> endobj
4 0 obj <</Filter/Standard/V 1/R 2/P -44/O("""
    + b"o" * 32
    + b")/U("
    + b"u" * 32
    + b""")>> endobj
trailer <</Root 1 0 R/Encrypt 4 0 R/ID[(0123456789abcdef)(0123456789abcdef)]>>
%%EOF
"""
)


def tone(pitch, seconds=1.0, rate=RATE):
    """Return int16 samples of shape (samples,)."""
    moments = numpy.arange(round(seconds * rate)) / rate
    return (numpy.sin(2 * numpy.pi * pitch * moments) * 12_000).astype(numpy.int16)


def as_floats(samples):
    """Return the sound of these int16 samples as a model takes it."""
    return {"array": samples.astype(numpy.float32) / 32768, "sampling_rate": RATE}


def wav(samples, rate=RATE):
    """Return the content of a wav file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def clip(start, frames=8, size=(48, 32)):
    """Return uint8 frames of shape (frames, height, width, 3): a square that moves."""
    images = []
    for number in range(frames):
        image = Image.new("RGB", size)
        ImageDraw.Draw(image).rectangle((start + 2 * number, 8, start + 2 * number + 8, 24), fill=(250, 200, 90))
        images.append(numpy.asarray(image))
    return numpy.stack(images)


def animation(frames, kind, fps=4):
    """Return the content of a moving image, lossless."""
    file = io.BytesIO()
    first, *others = (Image.fromarray(frame) for frame in frames)
    options = {"lossless": True} if kind == "WEBP" else {}
    first.save(file, kind, save_all=True, append_images=others, duration=1000 // fps, loop=0, **options)
    return file.getvalue()


def write_mp4(path, frames, fps=4):
    """Write frames as a video file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_pdf(path, pages, size=(300, 400)):
    """Write a document whose pages differ."""
    drawn = []
    for number in range(pages):
        page = Image.new("RGB", size, "white")
        ImageDraw.Draw(page).rectangle((20, 20, 60 + 40 * number, 90), fill=(40 * number % 256, 90, 160))
        drawn.append(page)
    drawn[0].save(path, "PDF", save_all=True, append_images=drawn[1:], resolution=72)
