"""How wide the vectors of a raw checkpoint are is seen in one of them, where its config says something else."""

import pytest
import torch
from all_families import build

from mmst_cli.config.schema import ModelConfig, Pooling
from mmst_cli.model.inspect_model import run_inspection
from mmst_cli.model.load_model import load_model


@pytest.mark.parametrize(("family", "width"), [("EmbeddingGemma 2", 48), ("PaliGemma", 32), ("T5", 32)])
def test_with_weights_and_without(family, width, tmp_path):
    path = str(build(family, tmp_path))
    for pooling in (None, Pooling.mean):
        model, _ = load_model(ModelConfig(name_or_path=path, pooling=pooling), torch.device("cpu"))
        assert model.get_embedding_dimension() == width
    facts = run_inspection(path)
    assert facts.dimension == width
    assert facts.parameters == sum(parameter.numel() for parameter in model.parameters())
