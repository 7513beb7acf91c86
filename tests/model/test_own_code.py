"""A run whose config allows its model's code is that code's permission, for whatever is made of the run."""

import pytest
import torch
from all_families import build

from mmst_cli.config.schema import ModelConfig, Pooling
from mmst_cli.errors import ModelError
from mmst_cli.model.inspect_model import run_inspection
from mmst_cli.model.load_model import load_model


def test_the_run_says_so_and_brings_the_code(tmp_path):
    source = str(build("code of its own", tmp_path))
    trusted = ModelConfig(name_or_path=source, trust_remote_code=True, pooling=Pooling.mean)
    model, _ = load_model(trusted, torch.device("cpu"))
    saved = tmp_path / "run" / "model"
    model.save_pretrained(str(saved), create_model_card=False)
    assert (saved / "modeling_own.py").is_file()
    with pytest.raises(ModelError, match=r"comes with Python code, .*model\.trust_remote_code=true"):
        load_model(ModelConfig(name_or_path=str(saved)), torch.device("cpu"))
    (tmp_path / "run" / "config.yaml").write_text("model: {trust_remote_code: true}\n")
    again, _ = load_model(ModelConfig(name_or_path=str(tmp_path / "run")), torch.device("cpu"))
    assert (again.encode(["a red page"]) == model.encode(["a red page"])).all()
    assert run_inspection(str(saved)).dimension == 32
