"""Four and eight bits a weight: refused where they can't be had, and asked of transformers where they can."""

import json

import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BitsAndBytesConfig

from mmst_cli.config.schema import AdapterConfig, Dtype, ModelConfig, QuantizationConfig
from mmst_cli.errors import ModelError
from mmst_cli.model import quantization
from mmst_cli.model.adapter import add_adapter
from mmst_cli.model.adapter_folder import save_model
from mmst_cli.model.load_model import check_loadable, load_model
from mmst_cli.model.weightless import load_without_weights

CPU = torch.device("cpu")


def config(**fields):
    quantized = QuantizationConfig(**fields)
    return ModelConfig(
        name_or_path="builtin:tiny-text", quantization=quantized, adapter=AdapterConfig(r=4, merge=False)
    )


def test_a_device_without_cuda_is_refused_before_anything_is_loaded():
    with pytest.raises(
        ModelError, match=r"^model\.quantization: bitsandbytes needs a CUDA GPU, and the device is cpu\."
    ):
        check_loadable(config(), CPU)
    load_without_weights(config())  # a config is checked anywhere


def test_without_bitsandbytes_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(quantization, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"^model\.quantization: .*pip install 'mmst-cli\[qlora\]'\.$"):
        quantization.check_quantizable(config(), torch.device("cuda"))


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}),
        ({"type": "fp4", "double": False}, {"bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": False}),
        ({"bits": 8, "skip_modules": ["visual"]}, {"load_in_8bit": True, "llm_int8_skip_modules": ["visual"]}),
    ],
)
def test_transformers_is_asked_for_what_the_config_says(fields, asked):
    given = quantization.quantization_kwargs(config(**fields), None)
    settings = given["quantization_config"].to_dict()
    assert settings.items() >= asked.items() and given["dtype"] is torch.bfloat16
    if settings["load_in_4bit"]:
        assert settings["bnb_4bit_compute_dtype"] == "bfloat16"
    assert quantization.quantization_kwargs(ModelConfig(name_or_path="x"), torch.float32) == {}


def test_the_folder_of_the_adapter_says_how_its_base_is_held(monkeypatch, tmp_path):
    """A stand-in for the GPU: the model is asked for as on one, and its weights are then left as they are."""
    asked, load = [], SentenceTransformer.__init__

    def unquantized(self, *arguments, model_kwargs, **options):
        asked.append(model_kwargs.pop("quantization_config", None))
        load(self, *arguments, model_kwargs=model_kwargs, **options)
        self.requires_grad_(False)  # as weights of a few bits have it
        if asked[-1] is not None:
            self[0].model.config.quantization_config = asked[-1]

    with monkeypatch.context() as patch:
        patch.setattr(SentenceTransformer, "__init__", unquantized)
        wanted = config().model_copy(update={"dtype": Dtype.bfloat16})
        model, _ = load_model(wanted, CPU)
        add_adapter(model, wanted, seed=1)
        save_model(model, tmp_path / "adapter")
    assert len(asked) == 1 and isinstance(asked[0], BitsAndBytesConfig) and asked[0].load_in_4bit
    kwargs = json.loads((tmp_path / "adapter/sentence_bert_config.json").read_text())["model_kwargs"]
    assert kwargs["dtype"] == "bfloat16"
    assert BitsAndBytesConfig.from_dict(kwargs["quantization_config"]).to_dict() == asked[0].to_dict()
    read = []
    monkeypatch.setattr("transformers.AutoModel.from_pretrained", lambda *_, **given: read.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):  # plain sentence-transformers asks for it by itself
        SentenceTransformer(str(tmp_path / "adapter"), device="cpu")
    assert read[0]["quantization_config"]["load_in_4bit"] is True
