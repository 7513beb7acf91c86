import pytest
import torch

from mmst_cli.builtin.tiny_text import HIDDEN, build_tiny_text


@pytest.fixture(scope="module")
def model():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(build_tiny_text()), device="cpu")


def test_it_is_what_it_says(model):
    assert sum(parameter.numel() for parameter in model.parameters()) < 500_000
    assert model.modalities == ["text"]
    assert model.get_embedding_dimension() == HIDDEN == 128
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"]
    assert (type(model[0].model).__name__, model[1].pooling_mode) == ("BertModel", "mean")


def test_its_config_has_the_tokens_of_its_tokenizer(model):
    """Or training aligns them, and warns of it."""
    config, tokenizer = model[0].model.config, model.tokenizer
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(config, name) == getattr(tokenizer, name) is not None


def test_it_tells_queries_apart(model, page_rows):
    vectors = model.encode([query for query, _ in page_rows(4)], convert_to_tensor=True)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4))
    assert (vectors @ vectors.T).fill_diagonal_(-1).max() < 0.99999


def test_it_takes_any_text_and_writes_it_back(model):
    assert model.encode(["", "<|end|>", "a" * 3000]).shape == (3, 128)
    ids = model.tokenizer("Ünïcödé 漢字 🦊")["input_ids"]
    assert model.tokenizer.decode(ids, skip_special_tokens=True) == "Ünïcödé 漢字 🦊"


def test_padding_changes_nothing(model):
    alone, beside = model.encode(["a red page"]), model.encode(["a red page", "a much longer query about pages"])
    assert alone[0] == pytest.approx(beside[0], abs=1e-6)


def test_two_builds_are_the_same(tmp_path, monkeypatch, files_of):
    first = build_tiny_text()
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    assert files_of(build_tiny_text()) == files_of(first)
    assert files_of(build_tiny_text(seed=1))["model.safetensors"] != files_of(first)["model.safetensors"]
