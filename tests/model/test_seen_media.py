"""Pixels and frames are counted in tiles and patches as well as in whole pictures."""

import numpy as np
import pytest
import torch
from all_families import build
from PIL import Image

from mmst_cli.config.schema import MediaConfig, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import load_model
from mmst_cli.model.model_checks import check_pixel_bounds, produced_pixels
from mmst_cli.model.model_media import check_video_bounds, take_frames_as_given
from mmst_cli.model.seen_media import see_clip


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """A function that loads the model of a family; models of clips are changed by some tests, so that each is new."""
    folder = tmp_path_factory.mktemp("families")
    return lambda name: load_model(ModelConfig(name_or_path=str(build(name, folder))), torch.device("cpu"))[0]


@pytest.mark.parametrize(
    ("family", "pixels"),
    [
        ("CLIP", 32 * 32),
        ("Idefics3", 5 * 32 * 32),  # four tiles, and the whole picture once more
        ("InternVL", 5 * 32 * 32),
        ("LLaVA-OneVision", 5 * 32 * 32),
        ("SigLIP 2", 256 * 16 * 16),
        ("Gemma 4", 64 * 64),
        ("Qwen2-VL", 64 * 64),
    ],
)
def test_the_pixels_of_a_picture_of_64_by_64(family, pixels, load):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    assert produced_pixels(load(family), picture) == pixels


def test_a_bound_that_a_processor_of_tiles_ignores(load):
    with pytest.raises(ModelError, match=r"^model\.processor\.max_pixels: 2000: the processor made 5120 pixels"):
        check_pixel_bounds(load("Idefics3"), {"max_pixels": 2000})


@pytest.mark.parametrize(
    ("family", "pixels"),
    [("SmolVLM", 32 * 32), ("InternVL", 32 * 32), ("LLaVA-OneVision", 32 * 32), ("V-JEPA 2", 32 * 32)],
)
def test_the_frames_of_a_clip_of_eight(family, pixels, load):
    model = load(family)
    take_frames_as_given(model)
    seen = see_clip(model[0], 8, 64, 64, fps=4.0)
    assert (seen.frames, seen.pixels) == (8, pixels)


@pytest.mark.parametrize("family", ["Gemma 4", "EmbeddingGemma 2", "InternVL", "SmolVLM"])
def test_frames_that_are_chosen_here_are_those_that_the_model_sees(family, load):
    model = load(family)
    take_frames_as_given(model)
    check_video_bounds(model, MediaConfig(fps=1.0, max_frames=4))


def test_a_bound_of_frames_that_a_processor_of_patches_scales_up(load):
    model = load("Gemma 4")
    take_frames_as_given(model)
    check_video_bounds(model, MediaConfig(max_pixels=72 * 64))
    with pytest.raises(ModelError, match=r"^media\.max_pixels: 400: the processor made \d+ pixels of a 20x20 frame"):
        check_video_bounds(model, MediaConfig(max_pixels=400))
