import numpy as np
import pytest
import torch

from mmst_cli.config.schema import MediaConfig, Modality, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.media.reading import Reader
from mmst_cli.model.load_model import load_model
from mmst_cli.model.model_media import check_video_bounds, fit_media, least_frames, see_clip, take_frames_as_given
from mmst_cli.model.seen_media import SeenClip


def load(path):
    return load_model(ModelConfig(name_or_path=str(path)), torch.device("cpu"))[0]


@pytest.fixture
def model(tiny_model_path):
    """A model that samples frames again, at 2 a second, unless told otherwise."""
    return load(tiny_model_path)


def test_every_frame_is_seen_and_the_saved_model_sees_it_too(model, tmp_path):
    assert see_clip(model[0], 8, 64, 64, fps=4.0).frames == 4
    take_frames_as_given(model)
    assert see_clip(model[0], 8, 64, 64, fps=4.0).frames == 8
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = load(tmp_path / "saved")
    assert see_clip(saved[0], 8, 64, 64, fps=4.0).frames == 8
    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3), dtype=np.uint8)
    clip = {"array": frames, "video_metadata": {"fps": 4.0, "total_num_frames": 8, "frames_indices": list(range(8))}}
    assert (saved.encode([{"video": clip}]) == model.encode([{"video": clip}])).all()


def test_a_clip_of_one_frame_is_shown_for_as_long_as_the_model_looks(model, tmp_path):
    reader = Reader(MediaConfig(), tmp_path)
    fit_media(model, [reader])
    clip = reader.read(Modality.video, np.zeros((1, 32, 32, 3), dtype=np.uint8))
    assert len(clip["array"]) == 2
    assert len(model.encode([{"video": clip}])) == 1


def test_a_model_without_video_stays_as_it_is():
    model = load("builtin:tiny-text")
    assert least_frames(model) == 1
    take_frames_as_given(model)
    check_video_bounds(model, MediaConfig(fps=4.0, max_frames=8, max_pixels=4096))


@pytest.mark.parametrize(
    "media",
    [
        MediaConfig(),
        MediaConfig(fps=4.0),
        MediaConfig(max_frames=7),
        MediaConfig(max_frames=8, max_pixels=64 * 64),
        MediaConfig(fps=0.5, max_frames=10_000),
    ],
)
def test_bounds_that_hold(media, model):
    take_frames_as_given(model)
    check_video_bounds(model, media)


@pytest.mark.parametrize(
    ("media", "key"), [(MediaConfig(max_frames=8), "max_frames: 8"), (MediaConfig(fps=4.0), "fps: 4.0")]
)
def test_a_processor_that_samples_again(media, key, model):
    with pytest.raises(ModelError, match=rf"^media\.{key}: of a clip of 8 frames the processor took 4\."):
        check_video_bounds(model, media)


def test_fewer_frames_than_the_model_takes_at_a_time(model):
    with pytest.raises(ModelError, match=r"^media\.max_frames: 1: the model takes 2 frames at a time\. Write 2 or"):
        check_video_bounds(model, MediaConfig(max_frames=1))


def test_a_bound_beyond_all_frames_is_tried_on_frames_of_bounded_size(model, monkeypatch):
    drawn = []

    def see(encoder, frames, height, width, fps):
        drawn.append(height * width)
        return SeenClip(frames, height * width)

    monkeypatch.setattr("mmst_cli.model.model_media.see_clip", see)
    check_video_bounds(model, MediaConfig(max_pixels=10**9))
    assert drawn and max(drawn) <= 2**24


def test_frames_that_are_scaled_up(model):
    with pytest.raises(ModelError, match=r"^media\.max_pixels: 100: the processor made 1024 pixels of a 10x10 frame"):
        check_video_bounds(model, MediaConfig(max_pixels=100))
