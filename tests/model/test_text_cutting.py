"""Of a text and a picture that are too long together, the text is cut, and never what stands for the picture."""

import numpy as np
import pytest
import torch
from all_families import build
from PIL import Image

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import DataError
from mmst_cli.model.load_model import load_model

LONG = "find the red page with a blue circle " * 20
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


def load(name, folder, length):
    config = ModelConfig(name_or_path=str(build(name, folder)), processor={"model_max_length": length})
    return load_model(config, torch.device("cpu"))[0]


@pytest.mark.parametrize("family", ["Idefics3", "Qwen2-VL", "InternVL"])
def test_a_long_text_gives_way_to_a_picture(family, folder):
    model = load(family, folder, 60)
    features = model.preprocess([{"text": LONG, "image": PICTURE}])
    whole = load(family, folder, 4096)
    start = model.preprocess([{"text": LONG[:30], "image": PICTURE}])
    assert 50 < features["input_ids"].shape[1] <= 60
    token = getattr(model[0].config, "image_token_id", None)
    wanted = whole.preprocess([{"text": LONG, "image": PICTURE}])
    assert (features["input_ids"] == token).sum() == (wanted["input_ids"] == token).sum() > 0
    assert start["input_ids"].shape[1] < 60


def test_its_vector_is_the_same_beside_others(folder):
    model = load("Qwen2-VL", folder, 60)
    inputs = [{"text": LONG, "image": PICTURE}, {"text": "find", "image": PICTURE}]
    alone = np.concatenate([model.encode([value]) for value in inputs])
    assert np.abs(model.encode(inputs) - alone).max() < 2e-5
    chats = [[{"role": "user", "content": [{"type": "text", "text": LONG}, {"type": "image", "image": PICTURE}]}]]
    assert model.encode(chats).shape == (1, 32)


def test_a_picture_that_is_too_long_by_itself(folder):
    model = load("Qwen2-VL", folder, 20)
    with pytest.raises(
        DataError, match=r"^the image of an input takes \d+ tokens with what stands around it, and the model 20\."
    ):
        model.preprocess([{"text": LONG, "image": PICTURE}])


def test_other_faults_stay_what_they_are(folder):
    model = load("Qwen2-VL", folder, 60)
    with pytest.raises(ValueError, match="aspect ratio"):
        model.preprocess([{"text": "find", "image": Image.new("RGB", (3000, 8))}])
