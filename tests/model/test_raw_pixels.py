"""Pixels that are handed over as bytes become what the image processor returns, or they aren't handed over so."""

import pickle

import pytest
import torch
from all_families import FAMILIES, build

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.large_images import noise
from mmst_cli.model.load_model import load_model
from mmst_cli.model.preprocessor import Preprocessor
from mmst_cli.model.raw_pixels import PIXELS, raw_pixels_of

PADDED = ("SigLIP 2", "Idefics3", "SmolVLM", "LLaVA-OneVision")  # after they normalise
UNUSUAL = ("EmbeddingGemma 2", "EmbeddingGemma 2, finished", "Gemma 4")  # hand over floats in any case
SIZES = ((640, 480), (300, 500), (640, 480), (900, 120), (33, 31))
FROM_IMAGES = [family for family in FAMILIES if any("image" in kind for kind in family.takes)]


def load(path, **more):
    return load_model(ModelConfig(name_or_path=str(path), **more), torch.device("cpu"))[0]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tensor = isinstance(value, torch.Tensor)
        assert torch.equal(found[name], value) if tensor else found[name] == value, name


@pytest.mark.parametrize("family", FROM_IMAGES, ids=[family.name for family in FROM_IMAGES])
def test_pixels_are_those_of_the_processor(family, tmp_path_factory):
    model = load(build(family.name, tmp_path_factory.getbasetemp()), **family.model)
    raw = raw_pixels_of(model)
    assert (raw is None) == (family.name in PADDED + UNUSUAL)
    beside = any(isinstance(kind, str) and " with " in kind for kind in family.takes)
    inputs = [{"text": "a page", "image": noise(*size)} if beside else noise(*size) for size in SIZES]
    features = Preprocessor(model, raw)(inputs)
    if raw is not None:
        whole = model.preprocess(inputs)[PIXELS]
        assert features[PIXELS].dtype == torch.uint8 and features[PIXELS].numel() * raw.frames == whole.numel()
        raw.restore(features)
    assert_same(features, model.preprocess(inputs))


def test_of_texts_chats_and_several_columns_too(tiny_model):
    raw = raw_pixels_of(tiny_model)
    chat = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "image": noise(200, 300)}]}]
    prepare = pickle.loads(pickle.dumps(Preprocessor(tiny_model, raw)))
    for inputs in (["a", "b c"], [{"text": "a"}], [{"text": "a", "image": noise(90, 120)}], [chat]):
        features = prepare(inputs)
        columns = {f"{column}_{name}": value for column in ("query", "page") for name, value in features.items()}
        raw.restore(columns)
        expected = tiny_model.preprocess(inputs)
        for column in ("query", "page"):
            assert_same({name: columns[f"{column}_{name}"] for name in features}, expected)


def test_a_processor_that_normalises_otherwise_is_asked_for_nothing_unusual(tiny_model_path, monkeypatch):
    model = load(tiny_model_path)
    part = model[0].processor.image_processor
    monkeypatch.setattr(part, "do_normalize", False)
    assert raw_pixels_of(model) is None
    other = load(tiny_model_path)
    backend = type(other[0].processor.image_processor)
    monkeypatch.setattr(backend, "rescale_and_normalize", lambda self, images, *_: images.float() / 255)
    assert raw_pixels_of(other) is None


def test_the_model_and_its_processor_stay_as_they_are(tiny_model_path, tmp_path):
    model = load(tiny_model_path)
    Preprocessor(model, raw_pixels_of(model))([noise(200, 300)])
    assert not model._forward_pre_hooks and not model[0].processing_kwargs.get("image")
    model.save_pretrained(str(tmp_path / "saved"))
    assert load(tmp_path / "saved")[0].processor.image_processor.do_normalize
