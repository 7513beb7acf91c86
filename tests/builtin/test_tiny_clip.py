import pytest
import torch
from PIL import Image

from mmst_cli.builtin.tiny_clip import HIDDEN, build_tiny_clip


@pytest.fixture(scope="module")
def model():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(build_tiny_clip()), device="cpu")


def test_it_is_what_it_says(model):
    assert sum(parameter.numel() for parameter in model.parameters()) < 600_000
    assert model.modalities == ["text", "image"]
    assert model.get_embedding_dimension() == HIDDEN == 128
    assert type(model[0].model).__name__ == "CLIPModel"
    assert [type(module).__name__ for module in model] == ["Transformer", "Normalize"]


def test_it_tells_pages_and_queries_apart(model, page_rows):
    queries, pages = zip(*page_rows(4), strict=True)
    for inputs in (list(queries), list(pages)):
        vectors = model.encode(inputs, convert_to_tensor=True)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(4))
        assert (vectors @ vectors.T).fill_diagonal_(-1).max() < 0.99999


def test_a_page_is_seen_whole(model):
    for edge in ((0, 0, 96, 4), (0, 124, 96, 128), (0, 0, 4, 128), (92, 0, 96, 128)):
        marked = Image.new("RGB", (96, 128))
        marked.paste("white", edge)
        blank, seen = model.preprocess([Image.new("RGB", (96, 128)), marked])["pixel_values"]
        assert not torch.equal(blank, seen)


def test_it_takes_any_text(model):
    assert model.encode(["", "Ünïcödé 漢字 🦊", "<|end|>", "a" * 3000]).shape == (4, 128)


def test_two_builds_are_the_same_and_leave_the_random_state_alone(tmp_path, monkeypatch, files_of):
    first = build_tiny_clip()
    monkeypatch.setenv("MMST_CACHE", str(tmp_path))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = build_tiny_clip()
    assert torch.equal(torch.rand(1), expected)
    assert again != first
    assert files_of(again) == files_of(first)
    assert files_of(build_tiny_clip(seed=1))["model.safetensors"] != files_of(first)["model.safetensors"]
