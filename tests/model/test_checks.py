import copy

import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.checks import (
    check_dims,
    check_modalities,
    check_pixel_bounds,
    half_precision_warning,
    produced_pixels,
)
from mmst_cli.model.load import load_model


def load(path, **processor):
    return load_model(ModelConfig(name_or_path=str(path), processor=processor), torch.device("cpu"))[0]


def words():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A model that makes 32x32 pixels of every image, whatever its processor is told."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    folder = tmp_path_factory.mktemp("clip")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 2, "max_position_embeddings": 20, "eos_token_id": 0}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=words()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A model of texts alone."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=2, **sizes)).save_pretrained(folder)
    words().save_pretrained(folder)
    return load(folder)


def test_dimensions_up_to_the_models_own(tiny_model):
    check_dims(tiny_model, {"matryoshka_dims": [128, 64, 1], "evaluators.a.dims": []})


def test_dimensions_above_the_models_own(tiny_model):
    with pytest.raises(ModelError) as caught:
        check_dims(tiny_model, {"matryoshka_dims": [64], "evaluators.hard.dims": [2048, 129, 128]})
    assert str(caught.value) == (
        "evaluators.hard.dims: 2048, 129: the model's embeddings have 128 dimensions. Name dimensions up to 128."
    )


def test_modalities_that_the_model_takes(tiny_model):
    check_modalities(tiny_model, {"a": "text", "b": "image", "c": "video"})


def test_audio_on_a_model_without_it(tiny_model, bert):
    key = "datasets.train.columns.sound.modality"
    with pytest.raises(ModelError) as caught:
        check_modalities(tiny_model, {"datasets.train.columns.query.modality": "text", key: "audio"})
    assert str(caught.value).startswith(f"{key}: audio: the model takes text, image, video.")
    with pytest.raises(ModelError, match=rf"{key}: image: the model takes text\."):
        check_modalities(bert, {key: "image"})


@pytest.mark.parametrize(
    "bounds",
    [
        {},
        {"max_pixels": 4096},
        {"max_pixels": 2000},
        {"max_pixels": 360_000},
        {"min_pixels": 784, "max_pixels": 360_000},
        {"min_pixels": 5000},
        {"min_pixels": 1},
        {"min_pixels": 4096, "max_pixels": 4096},
    ],
)
def test_bounds_that_are_honoured(bounds, tiny_model_path):
    model = load(tiny_model_path, **bounds)
    check_pixel_bounds(model, bounds)
    assert produced_pixels(model, Image.new("RGB", (900, 700))) <= bounds.get("max_pixels", 96 * 128)


@pytest.mark.parametrize("bounds", [{"max_pixels": 500}, {"min_pixels": 2000}, {"max_pixels": 360_000}])
def test_bounds_that_the_processor_ignores(bounds, clip):
    (name, value) = next(iter(bounds.items()))
    with pytest.raises(ModelError, match=rf"^model\.processor\.{name}: {value}: the processor made .*1024 pixels"):
        check_pixel_bounds(load(clip, **bounds), bounds)


def test_a_fixed_size_within_the_bounds(clip):
    check_pixel_bounds(load(clip), {"min_pixels": 1024, "max_pixels": 1024})


@pytest.mark.parametrize("bounds", [{"max_pixels": 2000}, {"min_pixels": 5000}, {"max_pixels": 90_000}])
def test_bounds_that_did_not_arrive(bounds, tiny_model):
    with pytest.raises(ModelError, match=r"doesn't follow this bound"):
        check_pixel_bounds(tiny_model, bounds)


def test_a_bound_below_one_patch_cannot_be_kept(tiny_model_path):
    with pytest.raises(ModelError, match=r"max_pixels: 100: the processor made 1024 pixels"):
        check_pixel_bounds(load(tiny_model_path, max_pixels=100), {"max_pixels": 100})


@pytest.mark.parametrize("value", [0, -5, 1.5, "360000", True, [1]])
@pytest.mark.parametrize("name", ["min_pixels", "max_pixels"])
def test_bounds_that_are_no_number_of_pixels(name, value, tiny_model):
    with pytest.raises(ModelError, match=rf"^model\.processor\.{name}: "):
        check_pixel_bounds(tiny_model, {name: value})


def test_bounds_the_wrong_way_round(tiny_model):
    with pytest.raises(ModelError, match=r"^model\.processor\.min_pixels: 5000: above max_pixels, which is 1000"):
        check_pixel_bounds(tiny_model, {"min_pixels": 5000, "max_pixels": 1000})


def test_bounds_on_a_model_without_images(bert):
    check_pixel_bounds(bert, {})
    with pytest.raises(ModelError, match="the model takes none"):
        check_pixel_bounds(bert, {"max_pixels": 360_000})


def test_pixels_are_counted_as_the_model_sees_them(tiny_model, clip):
    assert produced_pixels(tiny_model, Image.new("RGB", (96, 128))) == 96 * 128
    assert produced_pixels(tiny_model, Image.new("RGB", (32, 32))) == 32 * 32
    assert produced_pixels(load(clip), Image.new("RGB", (300, 200))) == 32 * 32


def test_full_precision_needs_no_warning(tiny_model):
    assert half_precision_warning(tiny_model, 2e-5) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_warned_of_with_the_figures(dtype, tiny_model):
    warning = half_precision_warning(copy.deepcopy(tiny_model).to(dtype), 2e-5)
    assert "at a learning rate of 2e-05" in warning
    assert "0.85 / 0.53 / 0.24 / 0.12" in warning
    assert "1e-4 / 5e-5 / 2e-5 / 1e-5" in warning
    assert "13 / 45 / 70 / 85%" in warning
    assert "model.dtype=float32 with training.bf16=true" in warning


def test_frozen_half_precision_weights_are_fine(tiny_model):
    model = copy.deepcopy(tiny_model).to(torch.bfloat16).requires_grad_(False)
    assert half_precision_warning(model, 2e-5) is None
