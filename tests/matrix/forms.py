"""Every form in which an input can come, each with the same input as sentence-transformers takes it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MODELS = {
    "text": "builtin:tiny-text",
    "image": "builtin:tiny-clip",
    "audio": "builtin:tiny-clap",
    "video": "builtin:tiny-qwen3-vl",
    "mixed": "builtin:tiny-qwen3-vl",
    "message": "builtin:tiny-qwen3-vl",
    "PDF page": "builtin:tiny-qwen3-vl",
}
RATE = 8000  # of the tiny CLAP, in Hz


@dataclass
class Case:
    """Stored rows with a column `document` to declare, and what direct `model.encode` is given for it."""

    columns: dict[str, list[Any]]
    declare: dict[str, Any]
    same: list[Any]
    features: dict[str, Any] = field(default_factory=dict)
    media: dict[str, Any] = field(default_factory=dict)
    files: list[str] | None = None
    """For the command line: the files themselves, where the form is one of files."""
    encode_columns: list[str] | None = None
    """For the command line: columns of the table; None where a table can't be named on it."""
    pages: str | None = None


@dataclass
class Form:
    """A row of the matrix."""

    kind: str
    name: str
    build: Callable[[Path], Case]


FORMS: list[Form] = []


def form(kind: str, name: str) -> Callable[[Callable[[Path], Case]], Callable[[Path], Case]]:
    """Register a way to store inputs."""

    def register(build: Callable[[Path], Case]) -> Callable[[Path], Case]:
        FORMS.append(Form(kind, name, build))
        return build

    return register


# --- media that the forms are made of


def texts() -> list[str]:
    return ["a red bar chart", "page.png", "https://host.example/a.jpg"]


def images(count: int = 3) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (64, 48 + 8 * i, 3), np.uint8)) for i in range(count)]


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def sounds() -> list[np.ndarray]:
    t = np.arange(RATE) / RATE
    return [(0.3 * np.sin(2 * np.pi * hertz * t)).astype(np.float32) for hertz in (220, 440, 880)]


def as_sound(samples: np.ndarray) -> dict[str, Any]:
    return {"array": samples, "sampling_rate": RATE}


def clips() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (4, 64, 64, 3), np.uint8) for _ in range(3)]


def as_clip(frames: np.ndarray, fps: float = 2.0) -> dict[str, Any]:
    return {
        "array": frames,
        "video_metadata": {"fps": fps, "total_num_frames": len(frames), "frames_indices": list(range(len(frames)))},
    }


def written(folder: Path, contents: list[bytes], suffix: str) -> list[str]:
    names = [f"{index}{suffix}" for index in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        (folder / name).write_bytes(content)
    return names


def wav(samples: np.ndarray, kind: str = "WAV", rate: int = RATE, **options: Any) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, **options)
    return file.getvalue()


def stored(contents: list[bytes]) -> list[dict[str, Any]]:
    return [{"bytes": content, "path": None} for content in contents]


# --- text


@form("text", "string")
def _text(_folder: Path) -> Case:
    return Case(
        {"document": texts()}, {"modality": "text"}, [{"text": text} for text in texts()], encode_columns=["document"]
    )


# --- image


def _image_case(values: list[Any], same: list[Image.Image], **others: Any) -> Case:
    return Case({"document": values}, {"modality": "image"}, same, encode_columns=["document:image"], **others)


@form("image", "embedded in a dataset")
def _image_embedded(_folder: Path) -> Case:
    from datasets import Image as ImageFeature

    return _image_case(images(), images(), features={"document": ImageFeature()})


@form("image", "bytes")
def _image_bytes(_folder: Path) -> Case:
    return _image_case([encoded(image) for image in images()], images())


@form("image", "path")
def _image_path(folder: Path) -> Case:
    names = written(folder, [encoded(image) for image in images()], ".png")
    return _image_case(names, images(), files=names)


@form("image", "array")
def _image_array(_folder: Path) -> Case:
    arrays = [np.asarray(image).tolist() for image in images()]
    return Case({"document": arrays}, {"modality": "image"}, images())


@form("image", "JPEG turned by EXIF")
def _image_turned(folder: Path) -> Case:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    names = written(folder, [encoded(image, "JPEG", quality=95, exif=exif) for image in images()], ".jpg")
    upright = [Image.open(folder / name).convert("RGB").transpose(Image.Transpose.ROTATE_270) for name in names]
    return _image_case(names, upright, files=names)


@form("image", "CMYK")
def _image_cmyk(folder: Path) -> Case:
    names = written(folder, [encoded(image.convert("CMYK"), "JPEG") for image in images()], ".jpg")
    return _image_case(names, [Image.open(folder / name).convert("RGB") for name in names], files=names)


@form("image", "palette")
def _image_palette(folder: Path) -> Case:
    names = written(folder, [encoded(image.quantize(16)) for image in images()], ".png")
    return _image_case(names, [Image.open(folder / name).convert("RGB") for name in names], files=names)


@form("image", "16-bit grey")
def _image_16_bit(folder: Path) -> Case:
    grey = [np.asarray(image.convert("L"), np.uint16) for image in images()]
    names = written(folder, [encoded(Image.fromarray(values * 257)) for values in grey], ".png")
    return _image_case(names, [Image.fromarray(values.astype(np.uint8)).convert("RGB") for values in grey], files=names)


@form("image", "transparent (on white)")
def _image_transparent(folder: Path) -> Case:
    layered = [image.convert("RGBA") for image in images()]
    for image in layered:
        image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    names = written(folder, [encoded(image) for image in layered], ".png")
    same = images()
    for image in same:
        image.paste((255, 255, 255), (0, 0, 20, 20))
    return _image_case(names, same, files=names)


@form("image", "animated (first frame)")
def _image_animated(folder: Path) -> Case:
    frames = [image.quantize(32, dither=Image.Dither.NONE) for image in images()]
    black = [Image.new("RGB", image.size) for image in frames]
    contents = [
        encoded(image, "GIF", save_all=True, append_images=[other]) for image, other in zip(frames, black, strict=True)
    ]
    names = written(folder, contents, ".gif")
    return _image_case(names, [image.convert("RGB") for image in frames], files=names)


# --- audio


def _audio_case(values: list[Any], same: list[np.ndarray], **others: Any) -> Case:
    heard = [as_sound(samples) for samples in same]
    others.setdefault("encode_columns", ["document:audio"])
    return Case({"document": values}, {"modality": "audio"}, heard, **others)


def _rounded(samples: np.ndarray) -> np.ndarray:
    """What 16 bits keep of samples."""
    import soundfile

    return soundfile.read(io.BytesIO(wav(samples)), dtype="float32")[0]


@form("audio", "embedded in a dataset")
def _audio_embedded(_folder: Path) -> Case:
    from datasets import Audio

    values = stored([wav(samples) for samples in sounds()])
    return _audio_case(values, [_rounded(s) for s in sounds()], features={"document": Audio(decode=False)})


@form("audio", "bytes")
def _audio_bytes(_folder: Path) -> Case:
    return _audio_case([wav(samples) for samples in sounds()], [_rounded(s) for s in sounds()])


@form("audio", "path: wav")
def _audio_wav(folder: Path) -> Case:
    names = written(folder, [wav(samples) for samples in sounds()], ".wav")
    return _audio_case(names, [_rounded(s) for s in sounds()], files=names)


@form("audio", "path: flac")
def _audio_flac(folder: Path) -> Case:
    names = written(folder, [wav(_rounded(samples), "FLAC") for samples in sounds()], ".flac")
    return _audio_case(names, [_rounded(s) for s in sounds()], files=names)


@form("audio", "path: mp3")
def _audio_mp3(folder: Path) -> Case:
    return _lossy(folder, "MP3", ".mp3")


@form("audio", "path: ogg")
def _audio_ogg(folder: Path) -> Case:
    return _lossy(folder, "OGG", ".ogg")


def _lossy(folder: Path, kind: str, suffix: str) -> Case:
    # What a lossy file decodes to is its decoder's affair: tests/media compares the decoders.
    names = written(folder, [wav(samples, kind) for samples in sounds()], suffix)
    return _cut_to_a_second(folder, names)


def _cut_to_a_second(folder: Path, names: list[str]) -> Case:
    """Lossy files end in a little silence, and of more than a second the tiny CLAP hears one at random."""
    from mmst_cli.config.schema import MediaConfig
    from mmst_cli.media.audio import read_audio

    same = [read_audio(folder / name, MediaConfig(max_seconds=1.0), RATE)["array"] for name in names]
    return _audio_case(names, same, files=names, media={"max_seconds": 1.0})


@form("audio", "path: m4a")
def _audio_m4a(folder: Path) -> Case:
    import av

    names = []
    for index, samples in enumerate(sounds()):
        names.append(f"{index}.m4a")
        with av.open(str(folder / names[-1]), "w", format="ipod") as file:
            stream = file.add_stream("aac", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
    return _cut_to_a_second(folder, names)


@form("audio", "stereo (mean of the channels)")
def _audio_stereo(folder: Path) -> Case:
    both = [np.stack([samples, 0 * samples], 1) for samples in sounds()]
    names = written(folder, [wav(samples, subtype="FLOAT") for samples in both], ".wav")
    return _audio_case(names, [samples.mean(1, dtype=np.float32) for samples in both], files=names)


@form("audio", "another rate (resampled)")
def _audio_resampled(folder: Path) -> Case:
    from scipy.signal import resample_poly

    fast = [np.repeat(samples, 2) for samples in sounds()]
    names = written(folder, [wav(samples, rate=2 * RATE, subtype="FLOAT") for samples in fast], ".wav")
    same = [np.asarray(resample_poly(samples, 1, 2), np.float32) for samples in fast]
    return _audio_case(names, same, files=names)


@form("audio", "array with sampling_rate")
def _audio_array(_folder: Path) -> Case:
    values = [{"array": samples.tolist(), "sampling_rate": RATE} for samples in sounds()]
    return _audio_case(values, sounds(), features={"document": _sound_feature()})


def _sound_feature() -> Any:
    from datasets import List, Value

    return {"array": List(Value("float32")), "sampling_rate": Value("int64")}


@form("audio", "max_seconds")
def _audio_cut(folder: Path) -> Case:
    names = written(folder, [wav(np.tile(samples, 3)) for samples in sounds()], ".wav")
    return _audio_case(names, [_rounded(s) for s in sounds()], files=names, media={"max_seconds": 1.0})


# --- video


def _video_case(values: list[Any], same: list[Any], **others: Any) -> Case:
    others.setdefault("encode_columns", ["document:video"])
    return Case({"document": values}, {"modality": "video"}, same, **others)


def _animation(frames: np.ndarray, kind: str, **options: Any) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    return encoded(first, kind, save_all=True, append_images=others, duration=500, loop=0, **options)


def _film(path: Path, frames: np.ndarray, codec: str, fps: int = 2) -> None:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)


def _decoded(path: Path, **media: Any) -> dict[str, Any]:
    from mmst_cli.config.schema import MediaConfig
    from mmst_cli.media.video import read_video

    return read_video(path, MediaConfig(**media))


@form("video", "embedded in a dataset")
def _video_embedded(_folder: Path) -> Case:
    from datasets import Video

    values = stored([_animation(frames, "WEBP", lossless=True) for frames in clips()])
    return _video_case(values, [as_clip(c) for c in clips()], features={"document": Video(decode=False)})


@form("video", "path: animated webp")
def _video_webp(folder: Path) -> Case:
    names = written(folder, [_animation(frames, "WEBP", lossless=True) for frames in clips()], ".webp")
    return _video_case(names, [as_clip(c) for c in clips()])


@form("video", "path: gif")
def _video_gif(folder: Path) -> Case:
    flat = [np.repeat(frames[:, :1, :1], 64, 1).repeat(64, 2) // 64 * 64 for frames in clips()]
    names = written(folder, [_animation(frames, "GIF") for frames in flat], ".gif")
    return _video_case(names, [as_clip(frames) for frames in flat])


@form("video", "path: mp4")
def _video_mp4(folder: Path) -> Case:
    return _filmed(folder, ".mp4", "mpeg4")


@form("video", "path: webm")
def _video_webm(folder: Path) -> Case:
    return _filmed(folder, ".webm", "libvpx-vp9")


def _filmed(folder: Path, suffix: str, codec: str) -> Case:
    # What a lossy file decodes to is its decoder's affair: tests/media compares the decoders.
    names = [f"{index}{suffix}" for index in range(3)]
    for name, frames in zip(names, clips(), strict=True):
        _film(folder / name, frames, codec)
    return _video_case(names, [_decoded(folder / name) for name in names], files=names)


@form("video", "folder of frames")
def _video_folder(folder: Path) -> Case:
    names = []
    for index, frames in enumerate(clips()):
        names.append(f"clip{index}")
        (folder / names[-1]).mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / names[-1] / f"{number}.png")
    media = {"fps": 2.0}
    return _video_case(names, [as_clip(c) for c in clips()], media=media)


@form("video", "list of images")
def _video_images(_folder: Path) -> Case:
    values = [[encoded(Image.fromarray(frame)) for frame in frames] for frames in clips()]
    return _video_case(values, [as_clip(c) for c in clips()], media={"fps": 2.0}, encode_columns=None)


@form("video", "array with video_metadata")
def _video_array(_folder: Path) -> Case:
    values = [{"array": c.tolist(), "video_metadata": {"fps": 2.0}} for c in clips()]
    return _video_case(values, [as_clip(c) for c in clips()])


@form("video", "fps and max_frames")
def _video_fps(folder: Path) -> Case:
    media = {"fps": 1.0, "max_frames": 2}
    names = written(folder, [_animation(frames, "WEBP", lossless=True) for frames in clips()], ".webp")
    same = [as_clip(frames[::2], fps=1.0) for frames in clips()]
    return _video_case(names, same, media=media)


# --- several modalities in one input


@form("mixed", "parts of several columns")
def _mixed_parts(_folder: Path) -> Case:
    columns = {"ocr": texts(), "page": [encoded(image) for image in images()]}
    same = [{"text": t, "image": i} for t, i in zip(texts(), images(), strict=True)]
    declare = {"parts": {"text": "ocr", "image": "page"}}
    return Case(columns, declare, same, encode_columns=["ocr:text", "page:image"])


@form("mixed", "parts missing in some rows")
def _mixed_missing(_folder: Path) -> Case:
    columns = {"ocr": [None, *texts()[1:]], "page": [encoded(images()[0]), None, encoded(images()[2])]}
    same = [{"image": images()[0]}, {"text": texts()[1]}, {"text": texts()[2], "image": images()[2]}]
    return Case(columns, {"parts": {"text": "ocr", "image": "page"}}, same, encode_columns=["ocr:text", "page:image"])


@form("mixed", "a column of mappings")
def _mixed_cells(_folder: Path) -> Case:
    values = [{"text": t, "image": encoded(i)} for t, i in zip(texts(), images(), strict=True)]
    same = [{"text": t, "image": i} for t, i in zip(texts(), images(), strict=True)]
    return Case({"document": values}, {"modality": "mixed"}, same, encode_columns=["document:mixed"])


# --- chats


def _chat(text: str, image: Any) -> list[dict[str, Any]]:
    return [
        {"role": "system", "content": [{"type": "text", "text": "Represent the page."}]},
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]},
    ]


def _same_chats() -> list[Any]:
    return [_chat(t, i) for t, i in zip(texts(), images(), strict=True)]


@form("message", "a column of chats")
def _message_cells(folder: Path) -> Case:
    names = written(folder, [encoded(image) for image in images()], ".png")
    values = [_chat(t, n) for t, n in zip(texts(), names, strict=True)]
    return Case({"document": values}, {"modality": "message"}, _same_chats(), encode_columns=["document:message"])


@form("message", "chats with embedded media")
def _message_embedded(_folder: Path) -> Case:
    values = [_chat(t, {"bytes": encoded(i), "path": None}) for t, i in zip(texts(), images(), strict=True)]
    return Case({"document": values}, {"modality": "message"}, _same_chats(), encode_columns=["document:message"])


@form("message", "chats with clips")
def _message_clips(folder: Path) -> Case:
    names = written(folder, [_animation(frames, "WEBP", lossless=True) for frames in clips()], ".webp")
    values = [[{"role": "user", "content": [{"type": "video", "video": name}]}] for name in names]
    return Case(
        {"document": values},
        {"modality": "message"},
        [as_clip(c) for c in clips()],
        encode_columns=["document:message"],
    )


@form("message", "JSON text")
def _message_json(folder: Path) -> Case:
    names = written(folder, [encoded(image) for image in images()], ".png")
    values = [json.dumps(_chat(t, n)) for t, n in zip(texts(), names, strict=True)]
    return Case({"document": values}, {"modality": "message"}, _same_chats(), encode_columns=["document:message"])


@form("message", "a template in the config")
def _message_template(_folder: Path) -> Case:
    template = [
        {"role": "system", "content": "Represent the page."},
        {"role": "user", "content": [{"image": "page"}, {"text": "{ocr}"}]},
    ]
    columns = {"ocr": texts(), "page": [encoded(image) for image in images()]}
    return Case(columns, {"message": template}, _same_chats())


# --- pages of documents


def _pdf(path: Path, pages: int = 3) -> None:
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    for index in range(pages):
        document.new_page(72 + 12 * index, 96)
    document.save(str(path))
    document.close()


def _drawn(path: Path, numbers: list[int]) -> list[Image.Image]:
    import pypdfium2

    document = pypdfium2.PdfDocument(str(path))
    return [document[number - 1].render(scale=150 / 72).to_pil().convert("RGB") for number in numbers]


@form("PDF page", "file.pdf#page")
def _pdf_page(folder: Path) -> Case:
    _pdf(folder / "manual.pdf")
    names = ["manual.pdf#1", "manual.pdf#3", "manual.pdf#2"]
    same = _drawn(folder / "manual.pdf", [1, 3, 2])
    return Case({"document": names}, {"modality": "image"}, same, encode_columns=["document:image"])


@form("PDF page", "pages: all")
def _pdf_all(folder: Path) -> Case:
    _pdf(folder / "manual.pdf")
    same = _drawn(folder / "manual.pdf", [1, 2, 3])
    return Case({"document": ["manual.pdf"]}, {"modality": "image", "pages": "all"}, same, files=["manual.pdf"])


@form("PDF page", "pages: first")
def _pdf_first(folder: Path) -> Case:
    names = [f"{index}.pdf" for index in range(3)]
    for index, name in enumerate(names):
        _pdf(folder / name, index + 1)
    same = [_drawn(folder / name, [1])[0] for name in names]
    declare = {"modality": "image", "pages": "first"}
    return Case({"document": names}, declare, same, files=names, pages="first")


@form("PDF page", "pages: [1, 3]")
def _pdf_numbers(folder: Path) -> Case:
    _pdf(folder / "manual.pdf")
    same = _drawn(folder / "manual.pdf", [1, 3])
    declare = {"modality": "image", "pages": [1, 3]}
    return Case({"document": ["manual.pdf"]}, declare, same, files=["manual.pdf"], pages="1,3")
