"""Gradients of float16 weights can't be scaled, and that is said before a weight is read."""

import json

import pytest
import torch

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.errors import ConfigError
from mmst_cli.model.load_model import check_scalable
from mmst_cli.model.precision import Precision, Runtime

GPU = torch.device("cuda")
FP16, BF16 = Runtime(GPU, Precision(torch.float16)), Runtime(GPU, Precision(torch.bfloat16))


@pytest.fixture
def checkpoint(tmp_path):
    """A function that makes a folder of a model with weights of such a dtype, without the weights."""

    def make(held):
        (tmp_path / "config.json").write_text(json.dumps({"dtype": held}))
        return str(tmp_path)

    return make


def test_a_checkpoint_in_float16(checkpoint):
    config = ModelConfig(name_or_path=checkpoint("float16"))
    with pytest.raises(
        ConfigError, match=r"^training\.fp16: true, but the weights of .* Write model\.dtype=float32\.$"
    ):
        check_scalable(config, FP16)
    check_scalable(config, BF16)
    check_scalable(config.model_copy(update={"dtype": Dtype.float32}), FP16)


@pytest.mark.parametrize("held", ["float32", "bfloat16", None])
def test_others(held, checkpoint):
    check_scalable(ModelConfig(name_or_path=checkpoint(held)), FP16)
