"""What names a model by content: the values stand in records, so they must stay what they are."""

import pytest
import torch
from safetensors.torch import save_file

from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.model_identity import model_identity, weights_identity


@pytest.fixture
def folder(tmp_path):
    """A folder like a model's: a large file of weights, a small one within, and a config."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (tmp_path / "sub" / "head.bin").write_bytes(b"head")
    return tmp_path


def content(folder):
    return model_identity(ModelConfig(name_or_path=str(folder)), seed=3)["content"]["model"]


def test_earlier_records_are_of_the_same_values(folder):
    assert weights_identity(str(folder), "66aa548e9548a0bc") == "66aa548e9548a0bc"
    spread = weights_identity(str(folder), "spread-0")
    assert spread.startswith("spread-") and spread[7:] == weights_identity(str(folder)).removeprefix("tensors-")


def test_other_weights_are_another_model(folder):
    before = weights_identity(str(folder)), content(folder)
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"changed.")
    assert weights_identity(str(folder)) != before[0]
    assert content(folder) != before[1]


def test_weights_that_changed_in_the_middle_alone_are_others(folder):
    """As where a part of a model was trained, or an adapter was merged into some layers."""
    before = weights_identity(str(folder))
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(500_000)
        file.write(bytes(100_000))
    assert weights_identity(str(folder)) != before
    assert weights_identity(str(folder), before) != before  # and a recorded one is compared alike


@pytest.mark.parametrize("number", [0, 150, 299])
def test_a_tensor_that_changed_alone_is_another_model(tmp_path, number):
    """As where all but a projector was frozen: a few blocks of the file would not tell."""
    (tmp_path / "config.json").write_text("{}")
    tensors = {str(one): torch.zeros(20_000) for one in range(300)}
    save_file(tensors, tmp_path / "model.safetensors")
    before = weights_identity(str(tmp_path)), content(tmp_path)
    tensors[str(number)] += 1
    save_file(tensors, tmp_path / "model.safetensors")
    assert weights_identity(str(tmp_path)) != before[0]
    assert content(tmp_path) != before[1]


@pytest.mark.parametrize("broken", [b"", b"\xff" * 20, b"\x02" + bytes(7) + b"[]", b"\x04" + bytes(7) + b'{"a"'])
def test_what_is_no_file_of_tensors_has_a_name_too(tmp_path, broken):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(broken)
    assert weights_identity(str(tmp_path)) != ""


def test_only_weights_name_the_vectors(folder):
    before = weights_identity(str(folder)), content(folder)
    (folder / "README.md").write_text("a card")
    assert weights_identity(str(folder)) == before[0]
    assert content(folder) != before[1]


def test_a_name_on_the_hub_has_no_weights_here():
    assert weights_identity("someone/model") == ""
