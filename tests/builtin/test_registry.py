import pytest
import torch

from mmst_cli.builtin.registry import BUILTIN_MODELS
from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import find_model, load_model


@pytest.mark.parametrize(
    ("name", "modalities"),
    [
        ("builtin:tiny-qwen3-vl", ["text", "image", "video", "message"]),
        ("builtin:tiny-qwen3-vl-video", ["text", "image", "video", "message"]),
        ("builtin:tiny-clap", ["text", "audio"]),
        ("builtin:tiny-clip", ["text", "image"]),
        ("builtin:tiny-text", ["text"]),
    ],
)
def test_every_one_of_them_loads_and_embeds(name, modalities):
    assert name in BUILTIN_MODELS
    model, _ = load_model(ModelConfig(name_or_path=name), torch.device("cpu"))
    assert model.modalities == modalities
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert model.encode(["a red page", "a low tone"]).shape == (2, model.get_embedding_dimension())


def test_a_name_that_is_none_of_theirs():
    with pytest.raises(ModelError, match=r"no such built-in model; there is .* Did you mean builtin:tiny-clip\?"):
        find_model("builtin:tiny-clipp")
