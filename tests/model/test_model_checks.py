import copy
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import LossConfig, ModelConfig, RouteConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import load_model
from mmst_cli.model.model_checks import check_dims, check_modalities, check_pixel_bounds, produced_pixels
from mmst_cli.model.model_media import sampling_rate
from mmst_cli.training.model_warnings import batch_norm_warning, half_precision_warning


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


def test_messages_and_mixed_inputs(tiny_model, clip):
    check_modalities(tiny_model, {"a": "message", "b": ("image", "text"), "c": ("text", "video", "image")})
    with pytest.raises(ModelError, match=r"^c\.modality: message: the model takes text, image\. Drop the column"):
        check_modalities(load(clip), {"c.modality": "message"})
    with pytest.raises(ModelError, match=r"^c\.parts: text with image: the model takes text, image, but not several"):
        check_modalities(load(clip), {"c.parts": ("text", "image")})


def test_a_part_that_the_model_does_not_take(tiny_model):
    key = "datasets.train.columns.document.parts"
    with pytest.raises(ModelError) as caught:
        check_modalities(tiny_model, {key: ("text", "audio")})
    assert str(caught.value).startswith(f"{key}.audio: audio: the model takes text, image, video.")


def test_modalities_of_a_routed_model_are_those_of_its_routes(tiny_model_path):
    routes = {
        "text": RouteConfig(name_or_path="builtin:tiny-text"),
        "image": RouteConfig(name_or_path=str(tiny_model_path)),
    }
    model, _ = load_model(ModelConfig(routes=routes), torch.device("cpu"))
    check_modalities(model, {"a": "text", "b": "image"})
    for modality in ("video", "message"):
        with pytest.raises(ModelError, match=rf"^c: {modality}: the model takes text, image\."):
            check_modalities(model, {"c": modality})
    assert produced_pixels(model, Image.new("RGB", (96, 128))) == 96 * 128


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


def test_a_bound_beyond_all_images_is_tried_on_an_image_of_bounded_size(tiny_model, clip, monkeypatch):
    drawn, fixed = [], load(clip)
    monkeypatch.setattr(
        "mmst_cli.model.model_checks.produced_pixels", lambda model, image: drawn.append(image.size) or 2**24
    )
    monkeypatch.setattr(Image, "new", lambda mode, size, *colour: SimpleNamespace(size=size))
    check_pixel_bounds(tiny_model, {"max_pixels": 10**9})
    assert drawn[0][0] * drawn[0][1] <= 2**25
    monkeypatch.setattr("mmst_cli.model.model_checks.produced_pixels", lambda model, image: 1024)
    with pytest.raises(ModelError, match="made only 1024 pixels"):
        check_pixel_bounds(fixed, {"max_pixels": 10**9})
    with pytest.raises(ModelError, match="min_pixels: 1000000000: no image has so many"):
        check_pixel_bounds(tiny_model, {"min_pixels": 10**9})


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


@pytest.fixture(scope="module")
def clap():
    return load("builtin:tiny-clap")


def feature_extractor(folder, rate):
    """An audio encoder whose processor is a feature extractor alone."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ASTModel(ASTConfig(max_length=32, num_mel_bins=16, **sizes)).save_pretrained(folder)
    ASTFeatureExtractor(sampling_rate=rate, num_mel_bins=16, max_length=32).save_pretrained(folder)
    return folder


def test_the_sampling_rate_a_model_wants(clap, tiny_model, tmp_path):
    assert sampling_rate(clap) == 8000
    assert sampling_rate(tiny_model) is None
    alone = load(feature_extractor(tmp_path / "ast", 16_000))
    assert (alone.modalities, sampling_rate(alone)) == (["audio"], 16_000)


def test_the_sampling_rate_of_routes(tmp_path):
    ast = str(feature_extractor(tmp_path / "ast", 16_000))
    routes = {"text": RouteConfig(name_or_path="builtin:tiny-text"), "audio": RouteConfig(name_or_path=ast)}
    model, _ = load_model(ModelConfig(routes=routes, dimension=32), torch.device("cpu"))
    assert sampling_rate(model) == 16_000
    routes = {"query": RouteConfig(name_or_path="builtin:tiny-clap"), "document": RouteConfig(name_or_path=ast)}
    model, _ = load_model(ModelConfig(routes=routes, dimension=32), torch.device("cpu"))
    with pytest.raises(ModelError, match=r"^model\.routes: .* sampling rates, 8000 Hz and 16000 Hz"):
        sampling_rate(model)


def layers(**args):
    return [LossConfig(type="CachedMultipleNegativesRankingLoss", args=args), LossConfig(type="MatryoshkaLoss")]


def test_batch_norm_in_smaller_pieces_than_the_batch_is_warned_of(clap):
    warning = batch_norm_warning(clap, layers(mini_batch_size=16), 64)
    assert "holds BatchNorm (1 layer)" in warning
    assert "a batch of 64" in warning and "mini-batches of 16 (mini_batch_size)" in warning
    assert "differ by up to 0.083. Set mini_batch_size to 64, or training.per_device_train_batch_size" in warning
    assert "mini-batches of 32" in batch_norm_warning(clap, layers(), 64)  # the loss's own
    assert "Set mini_batch_size=64 instead" in batch_norm_warning(clap, layers(mini_batch_num_tokens=4096), 64)


def test_where_batch_norm_sees_the_whole_batch(clap, tiny_model):
    assert batch_norm_warning(clap, layers(mini_batch_size=64), 64) is None
    assert batch_norm_warning(clap, layers(), 32) is None
    assert batch_norm_warning(clap, [LossConfig(type="MultipleNegativesRankingLoss")], 64) is None
    assert batch_norm_warning(clap, [], 64) is None
    assert batch_norm_warning(tiny_model, layers(mini_batch_size=1), 64) is None


def test_pieces_do_change_what_batch_norm_makes_of_a_batch(clap):
    noise = torch.rand(8, 8000, generator=torch.Generator().manual_seed(0)).numpy()
    features = clap.preprocess([{"array": wave, "sampling_rate": 8000} for wave in noise])
    model = copy.deepcopy(clap).train()

    def vectors(rows):
        part = {k: v[rows] if isinstance(v, torch.Tensor) else v for k, v in features.items()}
        return model(part)["sentence_embedding"].detach()

    whole = vectors(slice(0, 8))
    pieces = torch.cat([vectors(slice(0, 4)), vectors(slice(4, 8))])
    assert (whole - pieces).abs().max() > 1e-3
