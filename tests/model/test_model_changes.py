import pytest
import torch
from PIL import Image

from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.config.schema import ModelConfig, Pooling
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import load_model


def load(path, **fields):
    return load_model(ModelConfig(name_or_path=str(path), **fields), torch.device("cpu"))[0]


def plain(path):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu")


def names(model):
    return [type(module).__name__ for module in model]


@pytest.mark.parametrize("mode", ["mean", "cls", "lasttoken"])
def test_a_raw_text_model_pools_as_declared_and_is_normalised(mode, raw_bert, tmp_path):
    model = load(raw_bert, pooling=Pooling(mode))
    assert names(model) == ["Transformer", "Pooling", "Normalize"]
    assert model[1].pooling_mode == mode
    tokens = model[0](model.preprocess(["a red page"]))["token_embeddings"][0]
    expected = {"mean": tokens.mean(0), "cls": tokens[0], "lasttoken": tokens[-1]}[mode]
    vector = model.encode("a red page", convert_to_tensor=True)
    assert torch.allclose(vector, torch.nn.functional.normalize(expected, dim=0), atol=1e-6)
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert torch.equal(plain(tmp_path / "saved").encode("a red page", convert_to_tensor=True), vector)


def test_a_raw_model_without_pooling_is_as_sentence_transformers_has_it(raw_bert):
    model = load(raw_bert)
    assert names(model) == ["Transformer", "Pooling"]
    assert (model.encode("a page") == plain(raw_bert).encode("a page")).all()
    assert names(load(raw_bert, normalize=True)) == ["Transformer", "Pooling", "Normalize"]
    assert names(load(raw_bert, pooling=Pooling.cls, normalize=False)) == ["Transformer", "Pooling"]


def test_a_raw_image_model(raw_vit):
    model = load(raw_vit, pooling=Pooling.cls)
    assert (model.modalities, model.get_embedding_dimension()) == (["image"], 32)
    assert model.encode([Image.new("RGB", (50, 40), "red")]).shape == (1, 32)


def test_a_raw_vision_language_model_is_as_the_finished_one(raw_qwen, tiny_model, page_rows):
    model = load(raw_qwen, pooling=Pooling.lasttoken)
    query, page = page_rows(1)[0]
    for value in (query, page):
        assert torch.equal(
            model.encode([value], convert_to_tensor=True), tiny_model.encode([value], convert_to_tensor=True)
        )


def test_other_poolings_of_a_vision_language_model_get_no_generation_prompt(raw_qwen):
    assert "chat_template" not in load(raw_qwen, pooling=Pooling.mean)[0].processing_kwargs


def test_a_finished_model_pools_as_it_was_made(tiny_model_path):
    assert names(load(tiny_model_path, pooling=Pooling.lasttoken)) == ["Transformer", "Pooling", "Normalize"]
    with pytest.raises(ModelError, match=r"^model\.pooling: mean: this is a finished .* with lasttoken pooling\."):
        load(tiny_model_path, pooling=Pooling.mean)


def test_a_dual_encoder_has_nothing_to_pool(raw_clip):
    with pytest.raises(ModelError, match=r"^model\.pooling: mean: CLIPModel gives one vector .* Leave it out\."):
        load(raw_clip, pooling=Pooling.mean)


def test_normalisation_is_added_or_dropped(tmp_path):
    without = load(build_tiny_text(), normalize=False)
    assert names(without) == ["Transformer", "Pooling"]
    without.save_pretrained(str(tmp_path / "without"), create_model_card=False)
    assert names(load(tmp_path / "without")) == ["Transformer", "Pooling"]
    again = load(tmp_path / "without", normalize=True)
    assert (again.encode("a page") == plain(build_tiny_text()).encode("a page")).all()
