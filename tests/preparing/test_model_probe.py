"""What a model can't embed is one sentence before anything is begun."""

import pytest
import torch
from all_families import build

from mmst_cli.config.schema import Dtype, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.load_model import load_model
from mmst_cli.model.precision import Precision
from mmst_cli.preparing.model_probe import check_embeds


def check(config, *kinds):
    model, _ = load_model(config, torch.device("cpu"))
    check_embeds(model, [(f"columns.{kind}", kind, "document") for kind in kinds], Precision())


def test_what_the_builtin_models_take():
    check(ModelConfig(name_or_path="builtin:tiny-qwen3-vl"), "text", "image", "video", "message", ("image", "text"))
    check(ModelConfig(name_or_path="builtin:tiny-clap"), "text", "audio")


def test_a_size_that_the_weights_do_not_have(tmp_path):
    path = str(build("SigLIP", tmp_path))
    config = ModelConfig(name_or_path=path, processor={"size": {"height": 64, "width": 64}})
    check(config, "text")
    with pytest.raises(
        ModelError, match=r"^columns\.image: image: SiglipModel, held in float32 on cpu, can't embed it: .*64"
    ):
        check(config, "image")


def test_a_type_that_an_operation_does_not_have():
    config = ModelConfig(name_or_path="builtin:tiny-clap", dtype=Dtype.bfloat16)
    with pytest.raises(
        ModelError, match=r"^columns\.audio: audio: ClapModel, held in bfloat16 on cpu, can't embed it: "
    ):
        check(config, "audio")


def test_a_model_that_takes_pictures_only_with_a_text(tmp_path):
    check(ModelConfig(name_or_path=str(build("PaliGemma", tmp_path))), ("text", "image"))
