"""Saved models have the names that servers look for, and plain sentence-transformers reads the same weights."""

import json
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from all_families import FAMILIES, build
from safetensors import safe_open
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedModel

from mmst_cli.builtin.tiny_clip import build_tiny_clip
from mmst_cli.model.served_layout import save_for_servers

WHOLE = {
    "Qwen3-VL": ("Qwen3VLForConditionalGeneration", {"model.language_model", "model.visual"}),
    "Qwen2.5-VL": (
        "Qwen2_5_VLForConditionalGeneration",
        {"model.embed_tokens", "model.layers", "model.norm", "visual.*"},
    ),
    "PaliGemma": (
        "PaliGemmaForConditionalGeneration",
        {"language_model.model", "multi_modal_projector.*", "vision_tower.*"},
    ),
}
# What vLLM's class of Qwen3-VL makes of the names in a checkpoint: `hf_to_vllm_mapper` in its models/qwen3_vl.py.
VLLM = {
    "model.visual.": "visual.",
    "lm_head.": "language_model.lm_head.",
    "model.language_model.": "language_model.model.",
}


def read(path: Path):
    return json.loads(path.read_text())


def names_in(folder: Path) -> list[str]:
    return [name for file in folder.glob("*.safetensors") for name in safe_open(file, "pt").keys()]  # noqa: SIM118


def assert_same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(
        torch.equal(tensor, theirs[name]) and tensor.dtype == theirs[name].dtype for name, tensor in ours.items()
    )


@pytest.mark.parametrize("family", FAMILIES, ids=[family.name for family in FAMILIES])
def test_the_same_weights_are_read_back(family, tmp_path, tmp_path_factory):
    options = {"device": "cpu", "trust_remote_code": bool(family.model.get("trust_remote_code"))}
    model = SentenceTransformer(str(build(family.name, tmp_path_factory.getbasetemp())), **options)
    save_for_servers(model, tmp_path / "model")
    assert_same(model, SentenceTransformer(str(tmp_path / "model"), **options))
    if family.name in WHOLE:
        whole, names = WHOLE[family.name]
        assert read(tmp_path / "model" / "config.json")["architectures"] == [whole]
        known = [name.removesuffix("*") for name in names]
        assert all(name.startswith(tuple(known)) for name in names_in(tmp_path / "model"))
        assert all(any(name.startswith(one) for name in names_in(tmp_path / "model")) for one in known)


@pytest.fixture
def qwen(tiny_model_path):
    return SentenceTransformer(str(tiny_model_path), device="cpu")


def test_vllm_finds_every_weight(qwen, tmp_path):
    save_for_servers(qwen, tmp_path / "model")
    mapped = set()
    for name in names_in(tmp_path / "model"):
        prefix = next(prefix for prefix in VLLM if name.startswith(prefix))
        mapped.add(VLLM[prefix] + name.removeprefix(prefix))
    parts = {name.removeprefix("0.model.") for name in qwen.state_dict()}
    inner = {name.replace("language_model.", "language_model.model.", 1) for name in parts}
    assert mapped == inner


def test_sizes_and_modules_are_named_as_servers_read_them(qwen, tmp_path):
    save_for_servers(qwen, tmp_path / "model", [128, 8, 32])
    config = read(tmp_path / "model" / "config.json")
    assert config["is_matryoshka"] is True and config["matryoshka_dimensions"] == [8, 32, 128]
    assert [module["type"].rpartition(".") for module in read(tmp_path / "model" / "modules.json")] == [
        ("sentence_transformers.models", ".", name) for name in ("Transformer", "Pooling", "Normalize")
    ]
    pooling = read(tmp_path / "model" / "1_Pooling" / "config.json")
    assert pooling["word_embedding_dimension"] == 128 and "pooling_mode" not in pooling
    assert next(name for name, value in pooling.items() if value is True) == "pooling_mode_lasttoken"
    assert sum(value is True for name, value in pooling.items() if name.startswith("pooling_mode")) == 1
    save_for_servers(qwen, tmp_path / "whole")
    assert "matryoshka_dimensions" not in read(tmp_path / "whole" / "config.json")


def test_half_precision_and_files_of_a_part_each(qwen, tmp_path, monkeypatch):
    qwen.to(torch.bfloat16)
    save = partialmethod(PreTrainedModel.save_pretrained, max_shard_size="500KB")
    monkeypatch.setattr(PreTrainedModel, "save_pretrained", save)
    save_for_servers(qwen, tmp_path / "model")
    index = read(tmp_path / "model" / "model.safetensors.index.json")["weight_map"]
    assert len(set(index.values())) > 1 and all(name.startswith("model.") for name in index)
    assert read(tmp_path / "model" / "config.json")["dtype"] == "bfloat16"
    again = SentenceTransformer(str(tmp_path / "model"), device="cpu", model_kwargs={"dtype": "auto"})
    assert_same(qwen, again)


def test_the_model_in_memory_stays_as_it_is(qwen, tmp_path):
    before = qwen[0].model.config.to_dict()
    vector = qwen.encode("a page")
    save_for_servers(qwen, tmp_path / "model", [8])
    assert qwen[0].model.config.to_dict() == before
    assert (qwen.encode("a page") == vector).all()
    qwen.save_pretrained(str(tmp_path / "plain"), create_model_card=False)
    assert read(tmp_path / "plain" / "config.json")["architectures"] == ["Qwen3VLModel"]


def test_two_towers_stay_as_they_are(tmp_path):
    model = SentenceTransformer(str(build_tiny_clip()), device="cpu")
    save_for_servers(model, tmp_path / "model", [8])
    assert_same(model, SentenceTransformer(str(tmp_path / "model"), device="cpu"))
    assert read(tmp_path / "model" / "config.json")["architectures"] == ["CLIPModel"]
