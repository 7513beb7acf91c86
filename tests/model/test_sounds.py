import numpy as np
import pytest
import torch
from all_families import build
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer

from mmst_cli.builtin.tiny_clap import RATE, build_tiny_clap
from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.load_model import load_model

SOUND = {"array": np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), "sampling_rate": RATE}


@pytest.fixture
def forgetful(tmp_path):
    """A CLAP as others save it: nothing says how much of a sound it hears."""
    model = SentenceTransformer(str(build_tiny_clap()), device="cpu")
    encoder = next(module for module in model if isinstance(module, Transformer))
    encoder.processing_kwargs.clear()
    model.save_pretrained(str(tmp_path / "clap"), create_model_card=False)
    return tmp_path / "clap"


def test_a_clap_that_has_read_texts_hears_whole_sounds_after_saving(forgetful, tmp_path):
    model, _ = load_model(ModelConfig(name_or_path=str(forgetful)), torch.device("cpu"))
    before = model.encode([SOUND])
    model.encode(["a long enough text to truncate"])
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert np.array_equal(again.encode([SOUND]), before)
    assert np.array_equal(again.encode([SOUND]), before)  # a few samples would be chosen at random


@pytest.mark.parametrize("family", ["EmbeddingGemma 2", "Qwen2-Audio"])
def test_so_does_any_model_of_texts_and_sounds(family, tmp_path, tmp_path_factory):
    path = build(family, tmp_path_factory.getbasetemp())
    model, _ = load_model(ModelConfig(name_or_path=str(path), pooling="mean"), torch.device("cpu"))
    sound = {"audio": {"array": np.sin(np.arange(40_000) / 50).astype(np.float32), "sampling_rate": 16_000}}
    before = model.encode([sound])
    model.encode(["a text"])
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert np.array_equal(again.encode([sound]), before)


def test_what_a_model_says_itself_is_kept():
    model, _ = load_model(ModelConfig(name_or_path="builtin:tiny-clap"), torch.device("cpu"))
    assert model[0].processing_kwargs["audio"]["max_length"] == RATE
