import json

import numpy
import pytest
import torch

from mmst_cli.builtin.sound_synthesis import RATE, synthesise
from mmst_cli.builtin.sounds import SOUNDS, sample_queries
from mmst_cli.builtin.tiny_clap import build_tiny_clap
from mmst_cli.model.inspect_model import run_inspection


@pytest.fixture(scope="module")
def folder():
    return build_tiny_clap()


@pytest.fixture(scope="module")
def model(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


@pytest.fixture(scope="module")
def inputs():
    """Three texts and three sounds."""
    sounds = [
        synthesise(sound, index).astype(numpy.float32) / 32768 for index, sound in enumerate(SOUNDS.held_out(3, 0))
    ]
    return list(sample_queries(3)), [{"array": sound, "sampling_rate": RATE} for sound in sounds]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def test_it_is_a_small_clap_for_text_and_sound(model):
    assert model.modalities == ["text", "audio"]
    assert type(model[0].model).__name__ == "ClapModel"
    assert type(model[0].processor).__name__ == "ClapProcessor"
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert model.similarity_fn_name == "cosine"


def test_it_encodes_texts_and_sounds(model, inputs):
    for group in inputs:
        vectors = model.encode(group)
        assert vectors.shape == (3, 128)
        assert numpy.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert len({vector.tobytes() for vector in vectors}) == 3


def test_a_sound_embeds_the_same_whenever_and_beside_whatever(model, inputs):
    _, sounds = inputs
    short = {"array": sounds[0]["array"][: RATE // 3], "sampling_rate": RATE}  # padded, not repeated
    assert model.encode([short]).tobytes() == model.encode([short]).tobytes()
    numpy.testing.assert_allclose(model.encode([short, *sounds])[0], model.encode([short])[0], atol=1e-6)


def test_it_is_saved_and_loaded_bitwise(model, inputs, tmp_path):
    from sentence_transformers import SentenceTransformer

    model.encode(inputs[0])  # after which the tokenizer is saved with a limit of tokens, which no sound may take over
    model.save_pretrained(str(tmp_path), create_model_card=False)
    loaded = SentenceTransformer(str(tmp_path), device="cpu")
    assert loaded.modalities == model.modalities
    for group in inputs:
        assert loaded.encode(group).tobytes() == model.encode(group).tobytes()


def test_the_folder_has_the_ordinary_layout(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"modules.json", "config.json", "model.safetensors", "tokenizer.json", "processor_config.json"} <= names
    assert json.loads((folder / "config_sentence_transformers.json").read_text())["similarity_fn_name"] == "cosine"


def test_two_builds_have_the_same_weights_and_another_seed_others(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    torch.manual_seed(1)
    again = build_tiny_clap()
    assert again.parent == tmp_path
    assert weights(again) == weights(folder)
    assert (again / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    assert weights(build_tiny_clap(seed=1)) != weights(folder)


def test_building_leaves_the_random_state_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    before = torch.get_rng_state()
    build_tiny_clap()
    assert torch.equal(torch.get_rng_state(), before)


def test_every_mel_band_hears_something(model):
    assert (model[0].processor.feature_extractor.mel_filters_slaney.max(axis=0) > 0).all()


def test_all_texts_about_sounds_fit(model):
    lengths = [len(tokens) for tokens in model.tokenizer(list(sample_queries(500)))["input_ids"]]
    assert max(lengths) < model.max_seq_length


def test_what_inspection_says(folder):
    facts = run_inspection(str(folder))
    taken = {fact.modality: (fact.part, fact.method) for fact in facts.modalities if fact.supported}
    assert taken == {"text": ("tokenizer", "get_text_features"), "audio": ("feature_extractor", "get_audio_features")}
    assert {fact.modality for fact in facts.modalities if not fact.supported} >= {"image", "video", "message"}
    assert facts.architecture == "ClapModel"
    assert (facts.dimension, facts.pooling, facts.normalised) == (128, None, True)
    assert (facts.similarity, facts.dtype, facts.max_length) == ("cosine", "float32", 62)
    classes = {fact.modality: fact.part_class for fact in facts.modalities}
    assert classes["audio"] == "ClapFeatureExtractor"
