"""Clips in every form, each as frames with their rate."""

from __future__ import annotations

import time
from fractions import Fraction
from types import SimpleNamespace

import numpy
import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import MediaConfig
from mmst_cli.errors import DataError
from mmst_cli.media import video_decoding
from mmst_cli.media.video import read_video

pytest.importorskip("av")

WHOLE = MediaConfig()
FORMATS = ["v.mp4", "v.webm", "v.mkv", "v.mov", "v.avi"]
SETTINGS = {
    "whole": WHOLE,
    "fps": MediaConfig(fps=4),
    "frames": MediaConfig(max_frames=5),
    "seconds": MediaConfig(max_seconds=0.95),
    "all": MediaConfig(fps=4, max_frames=3, max_seconds=1.5, max_pixels=1000),
}


def numbers_of(read):
    """Which frames these are, told by their red corner."""
    return [round(float(frame[-1, -1, 0]) / 10) for frame in read["array"]]


def save_frames(frames, path, duration=100):
    images = [Image.fromarray(frame) for frame in frames]
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=duration, **lossless)
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_path_and_bytes(write_clip, frames, name):
    path = write_clip(name)
    read = read_video(path, WHOLE)
    assert read["array"].dtype == numpy.uint8
    assert read["array"].shape == frames.shape
    assert numpy.abs(read["array"].astype(int) - frames).mean() < 8  # lossy
    assert read["video_metadata"]["fps"] == pytest.approx(10)
    assert read["video_metadata"]["total_num_frames"] == 20
    assert read["video_metadata"]["frames_indices"] == list(range(20))
    for form in (str(path), path.read_bytes(), {"bytes": None, "path": str(path)}):
        assert numpy.array_equal(read_video(form, WHOLE)["array"], read["array"])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("gop", [1, 5, 250])
def test_torchcodec_gives_the_same_frames(torchcodec, write_clip, name, settings, gop):
    path = write_clip(name, gop=gop)
    left = read_video(path, settings)
    right = read_video(torchcodec.VideoDecoder(path, dimension_order="NHWC"), settings)
    assert left["array"].shape == right["array"].shape
    assert numpy.abs(left["array"].astype(int) - right["array"]).max() <= 2  # measured: 0
    assert left["video_metadata"].pop("fps") == pytest.approx(right["video_metadata"].pop("fps"))
    assert left["video_metadata"] == right["video_metadata"]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_clip_stands_upright(write_clip, rotation):
    upright = read_video(write_clip("v.mp4", rotation=rotation), WHOLE)["array"]
    assert upright.shape[1:3] == ((64, 48) if rotation != 180 else (48, 64))
    flat = read_video(write_clip("flat.mp4"), WHOLE)["array"].astype(int)
    assert numpy.abs(upright - numpy.rot90(flat, rotation // 90, axes=(1, 2))).mean() < 1  # encoded once more


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_torchcodec_turns_clips_the_same_way(torchcodec, write_clip, rotation):
    path = write_clip("v.mp4", rotation=rotation)
    assert numpy.array_equal(
        read_video(path, WHOLE)["array"], read_video(torchcodec.VideoDecoder(path), WHOLE)["array"]
    )


@pytest.mark.parametrize(
    ("aspect", "rotation", "shape"),
    [(Fraction(2), 0, (48, 128)), (Fraction(1, 2), 0, (96, 64)), (Fraction(2), 90, (128, 48))],
)
def test_frames_of_stretched_pixels_are_shown_in_square_ones(write_clip, frames, aspect, rotation, shape):
    path = write_clip("v.mp4", aspect=aspect, rotation=rotation)
    read = read_video(path, WHOLE)
    assert read["array"].shape == (20, *shape, 3)
    assert numbers_of(read_video(write_clip("v.mkv", aspect=aspect), WHOLE)) == list(range(20))
    assert read_video(path, MediaConfig(max_pixels=1536))["array"].shape[1:3] == tuple(side // 2 for side in shape)


def test_nearly_square_pixels_are_left(write_clip, frames):
    assert read_video(write_clip("v.mp4", aspect=Fraction(1280, 1279)), WHOLE)["array"].shape == frames.shape


def test_frames_that_are_not_even_are_taken_by_when_they_are_shown(write_clip):
    # A screen recording: ten frames in the first second, then one a second.
    path = write_clip("v.mkv", moments=[*range(0, 1000, 100), *range(1000, 11000, 1000)])
    beginning = read_video(path, MediaConfig(max_seconds=1))
    assert numbers_of(beginning) == list(range(10))
    assert beginning["video_metadata"]["fps"] == pytest.approx(10)
    each = read_video(path, MediaConfig(fps=1))
    assert numbers_of(each) == [0, *range(10, 20)]
    assert each["video_metadata"]["fps"] == 1


def test_rounded_times_of_an_even_clip_are_even(write_clip):
    read = read_video(write_clip("v.mkv", fps=30), MediaConfig(fps=20))  # 0, 33, 67, 100 ms
    assert numbers_of(read) == [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19]


def test_what_an_edit_list_leaves_out_is_not_shown(write_clip, tmp_path):
    part = tmp_path / "part.mp4"
    cut_without_encoding(write_clip("whole.mp4"), part, begin=0.6)
    read = read_video(part, WHOLE)
    assert numbers_of(read) == list(range(6, 20))
    assert read["video_metadata"]["fps"] == pytest.approx(10)
    assert numbers_of(read_video(part, MediaConfig(max_frames=2))) == [6, 19]


def cut_without_encoding(source, target, begin):
    """Write the packets from the last key frame before ``begin`` on; those before it have negative times."""
    import av

    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        offset = round(begin / stream.time_base)
        old.seek(offset, stream=stream)
        for packet in old.demux(stream):
            if packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, copy
                new.mux(packet)


@pytest.mark.parametrize(
    ("settings", "numbers", "fps"),
    [
        (WHOLE, range(20), 10),
        (MediaConfig(fps=5), range(0, 20, 2), 5),
        (MediaConfig(fps=4), [0, 2, 5, 7, 10, 12, 15, 17], 4),  # 2.5 is as near to 2 as to 3: the earlier one
        (MediaConfig(fps=30), range(20), 10),
        (MediaConfig(max_frames=3), [0, 10, 19], 10 * 2 / 19),
        (MediaConfig(max_frames=1), [0], 0.5),
        (MediaConfig(max_frames=50), range(20), 10),
        (MediaConfig(max_seconds=0.5), range(5), 10),
        (MediaConfig(max_seconds=0.01), [0], 10),
        (MediaConfig(max_seconds=60), range(20), 10),
        (MediaConfig(fps=5, max_frames=3, max_seconds=1), [0, 4, 8], 2.5),
    ],
)
def test_the_frames_are_those_asked_for(write_clip, frames, settings, numbers, fps):
    for source in (write_clip("v.mkv"), {"array": frames, "video_metadata": {"fps": 10}}):
        read = read_video(source, settings)
        assert numbers_of(read) == list(numbers)
        assert read["video_metadata"]["fps"] == pytest.approx(fps)
        assert read["video_metadata"]["frames_indices"] == list(range(len(numbers)))


def test_large_frames_are_scaled_down_and_small_ones_kept(write_clip):
    path = write_clip("v.mp4")
    assert read_video(path, MediaConfig(max_pixels=768))["array"].shape == (20, 24, 32, 3)
    assert read_video(path, MediaConfig(max_pixels=10**6))["array"].shape == (20, 48, 64, 3)


def test_only_the_wanted_frames_are_decoded(monkeypatch, write_clip):
    import av

    path = write_clip("v.mp4", gop=5)
    decoded = []
    convert = av.VideoFrame.to_ndarray
    monkeypatch.setattr(
        video_decoding, "_upright", lambda frame, **_: decoded.append(frame.pts) or convert(frame, format="rgb24")
    )
    read_video(path, MediaConfig(max_frames=3))
    assert len(set(decoded)) == 3


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_moving_images_keep_their_rate(frames, tmp_path, suffix):
    read = read_video(save_frames(frames[:8], tmp_path / f"v{suffix}", duration=250), WHOLE)
    assert read["array"].shape == (8, 48, 64, 3)
    assert numbers_of(read) == list(range(8))
    assert read["video_metadata"]["fps"] == pytest.approx(4)
    if suffix != ".gif":
        assert numpy.array_equal(read["array"], frames[:8])


def test_a_frame_that_is_shown_for_long_is_taken_as_often(frames, tmp_path):
    path = save_frames(frames[:3], tmp_path / "v.gif", duration=[1000, 3000, 1000])
    assert numbers_of(read_video(path, MediaConfig(fps=0.5))) == [0, 1, 2]
    assert numbers_of(read_video(path, MediaConfig(max_seconds=2))) == [0, 1]


def test_every_array_form_is_the_same_clip(frames):
    turned = numpy.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    images = [Image.fromarray(frame) for frame in frames]
    forms = [
        frames,
        turned,
        torch.from_numpy(turned),
        frames[:, ::-1][:, ::-1],
        frames[::-1].copy()[::-1],
        frames.tolist(),
        list(frames),
        images,
        {"array": turned, "video_metadata": {"fps": 24, "total_num_frames": 20, "frames_indices": list(range(20))}},
    ]
    for form in forms:
        read = read_video(form, WHOLE)
        assert numpy.array_equal(read["array"], frames)
        assert min(read["array"].strides) > 0
        assert read["video_metadata"]["fps"] == pytest.approx(24)
        torch.from_numpy(read["array"])


def test_grey_frames_have_three_channels(frames):
    grey = frames[..., 0]
    for form in (grey, grey[..., None], grey[:, None]):
        assert numpy.array_equal(read_video(form, WHOLE)["array"], numpy.stack([grey] * 3, axis=-1))


def test_frames_taken_out_of_a_longer_clip_keep_their_times(frames):
    metadata = {"fps": 10, "total_num_frames": 100, "frames_indices": list(range(0, 100, 5))}
    read = read_video({"array": frames, "video_metadata": metadata}, WHOLE)
    assert read["video_metadata"]["fps"] == pytest.approx(2)
    assert numbers_of(read_video({"array": frames, "video_metadata": metadata}, MediaConfig(fps=1))) == list(
        range(0, 20, 2)
    )


def test_a_folder_is_its_frames_in_the_order_of_their_numbers(frames, tmp_path):
    for number, frame in enumerate(frames[:12]):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    read = read_video(tmp_path, WHOLE)
    assert numbers_of(read) == list(range(12))
    assert read["video_metadata"]["fps"] == 24
    assert read_video(str(tmp_path), MediaConfig(fps=2))["video_metadata"]["fps"] == 2
    files = [str(tmp_path / f"frame{number}.png") for number in (3, 1)]
    assert numbers_of(read_video(files, WHOLE)) == [3, 1]
    Image.new("RGB", (5, 5)).save(tmp_path / "frame99.png")
    with pytest.raises(DataError, match="frame 12 has 5x5 pixels, but the first 64x48"):
        read_video(tmp_path, WHOLE)


def test_a_decoder_object_is_read(frames):
    tensor = torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())
    decoder = SimpleNamespace(
        metadata=SimpleNamespace(num_frames=20, average_fps=10.0, width=64, height=48),
        get_frames_at=lambda numbers: SimpleNamespace(data=tensor[numbers]),
    )
    assert numpy.array_equal(read_video(decoder, WHOLE)["array"], frames)
    assert numbers_of(read_video(decoder, MediaConfig(fps=5))) == list(range(0, 20, 2))


def test_torchcodecs_own_decoder_is_read(torchcodec, write_clip):
    path = write_clip("v.mp4")
    assert numpy.array_equal(
        read_video(torchcodec.VideoDecoder(path), WHOLE)["array"], read_video(path, WHOLE)["array"]
    )


def test_a_long_clip_is_refused_or_cut_at_once(write_clip):
    still = numpy.broadcast_to(numpy.zeros((1, 480, 640, 3), dtype=numpy.uint8), (600, 480, 640, 3))
    path = write_clip("long.mp4", still, fps=1, gop=50)
    started = time.process_time()
    with pytest.raises(
        DataError, match=r"a clip of 600 s would give 600 frames of 640x480 pixels.*set media.fps, media.max_frames or"
    ):
        read_video(path, WHOLE)
    assert time.process_time() - started < 1
    with pytest.raises(DataError, match="would give 590 frames"):
        read_video(path, MediaConfig(max_frames=590))
    assert len(read_video(path, MediaConfig(max_frames=4))["array"]) == 4
    assert len(read_video(path, MediaConfig(max_seconds=3))["array"]) == 3


def test_a_file_of_more_frames_than_are_read_is_refused(write_clip, monkeypatch):
    monkeypatch.setattr(video_decoding, "MAX_FRAMES", 10)
    with pytest.raises(DataError, match="a video of over 10 frames"):
        read_video(write_clip("v.mp4"), MediaConfig(fps=1))


def test_files_without_frames_are_told(write_clip, write_sound, tmp_path):
    (tmp_path / "text.mp4").write_text("just a line of text\n" * 50)
    (tmp_path / "half.mp4").write_bytes(write_clip("v.mp4").read_bytes()[:900])
    for name in ("text.mp4", "half.mp4"):
        with pytest.raises(
            DataError, match=rf"{name}: no video that can be read: Invalid data found when processing input\.$"
        ) as raised:
            read_video(tmp_path / name, WHOLE)
        assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match=r"a\.m4a: a file without video in it"):
        read_video(write_sound("a.m4a"), WHOLE)
    (tmp_path / "list.mp4").write_text("#EXTM3U\nhttp://host/other.mp4\n")
    with pytest.raises(DataError, match="a list of other media"):
        read_video(tmp_path / "list.mp4", WHOLE)


def test_a_video_of_zero_frames_is_told(tmp_path):
    import av

    with av.open(str(tmp_path / "none.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(DataError, match=r"none.mkv: (a video of 0 frames|no video that can be read)"):
        read_video(tmp_path / "none.mkv", WHOLE)


def test_a_clip_that_breaks_off_is_told(write_clip, tmp_path):
    content = write_clip("v.mkv", gop=1).read_bytes()
    (tmp_path / "half.mkv").write_bytes(content[: len(content) // 2])
    read = read_video(tmp_path / "half.mkv", WHOLE)  # what is there is read: a matroska file knows no count
    assert 0 < len(read["array"]) < 20


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ([], "a video of 0 frames"),
        (numpy.zeros((0, 4, 4, 3), dtype=numpy.uint8), "a video of 0 frames"),
        (numpy.zeros((2, 4, 4, 3)), "frames of floats.*values in 0..1 would be scaled again"),
        (numpy.full((2, 4, 4, 3), 300), "found 300 to 300"),
        (numpy.zeros((2, 4, 4, 5), dtype=numpy.uint8), r"found shape \(2, 4, 4, 5\) of uint8"),
        (numpy.zeros((4, 4), dtype=numpy.uint8), r"found shape \(4, 4\)"),
        ({"array": numpy.zeros((2, 4, 4, 3), dtype=numpy.uint8)}, "found a mapping of array"),
        (
            {"array": numpy.zeros((2, 4, 4, 3), dtype=numpy.uint8), "video_metadata": {"fps": 0}},
            "video_metadata.fps is a number of frames a second, found 0",
        ),
        (7, "found int"),
        ("nowhere.mp4", "no such file: nowhere.mp4"),
        ([b"text"], "frame 0: no image format that is known"),
        (numpy.zeros((2, 4, 4000, 3), dtype=numpy.uint8), "aspect ratios up to 200"),
    ],
)
def test_what_is_no_clip_is_told(source, sentence):
    with pytest.raises(DataError, match=sentence):
        read_video(source, WHOLE)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="a video of 0 frames; a folder of frames holds images"):
        read_video(tmp_path, WHOLE)
