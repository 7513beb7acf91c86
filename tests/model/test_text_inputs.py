"""Encoders that take strings alone are given them, however a text comes."""

import numpy as np
import pytest
import torch
from all_families import build
from sentence_transformers import SentenceTransformer

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.load_model import load_model

TEXTS = ["a red page", "page.png", "https://host.example/a.jpg"]


@pytest.mark.parametrize("family", ["static embeddings", "word embeddings", "router by side"])
def test_a_mapping_of_text_has_the_vector_of_the_string(family, tmp_path):
    path = build(family, tmp_path)
    model, _ = load_model(ModelConfig(name_or_path=str(path)), torch.device("cpu"))
    plain = SentenceTransformer(str(path), device="cpu")
    found = model.encode_query([{"text": text} for text in TEXTS])
    assert np.array_equal(found, plain.encode_query(TEXTS))
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert np.array_equal(saved.encode_query(TEXTS), found)
