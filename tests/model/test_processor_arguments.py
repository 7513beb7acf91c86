"""An argument that no part of the processor has is refused with a suggestion, and one that it has is not."""

import pytest
import torch
from all_families import build

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import load_model
from mmst_cli.model.weightless import load_without_weights


@pytest.fixture(scope="module")
def idefics3(tmp_path_factory):
    return str(build("Idefics3", tmp_path_factory.mktemp("families")))


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        (
            "builtin:tiny-qwen3-vl",
            {"max_pixel": 4096},
            r"max_pixel: .* has no such argument\. Did you mean max_pixels\?",
        ),
        ("builtin:tiny-text", {"model_max_lenght": 9}, r"model_max_lenght: .* Did you mean model_max_length\?"),
        ("builtin:tiny-clip", {"crop_siz": 9}, r"crop_siz: .* Did you mean crop_size\?"),
        ("builtin:tiny-clap", {"trunction": "fusion"}, r"trunction: .* Did you mean truncation\?"),
    ],
)
def test_an_unknown_one(name, argument, message):
    config = ModelConfig(name_or_path=name, processor=argument)
    with pytest.raises(ModelError, match=rf"^model\.processor\.{message}"):
        load_model(config, torch.device("cpu"))
    with pytest.raises(ModelError, match=rf"^model\.processor\.{message}"):
        load_without_weights(config)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("builtin:tiny-qwen3-vl", {"max_pixels": 64 * 64, "do_sample_frames": False, "padding_side": "left"}),
        ("builtin:tiny-text", {"model_max_length": 9, "truncation_side": "left", "use_fast": True}),
        ("builtin:tiny-clip", {"do_center_crop": False, "size": {"height": 48, "width": 48}}),
        ("builtin:tiny-clap", {"truncation": "rand_trunc", "max_length_s": 1}),
    ],
)
def test_known_ones(name, arguments):
    load_without_weights(ModelConfig(name_or_path=name, processor=arguments))


def test_one_of_a_part(idefics3):
    load_without_weights(
        ModelConfig(name_or_path=idefics3, processor={"do_image_splitting": False, "image_seq_len": 4})
    )
