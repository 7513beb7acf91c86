"""What names a model by content: the values stand in records, so they must stay what they are."""

import pytest

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
    assert content(folder) == "67f191f34a412ef1"


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


def test_only_weights_name_the_vectors(folder):
    before = weights_identity(str(folder)), content(folder)
    (folder / "README.md").write_text("a card")
    assert weights_identity(str(folder)) == before[0]
    assert content(folder) != before[1]


def test_a_name_on_the_hub_has_no_weights_here():
    assert weights_identity("someone/model") == ""
