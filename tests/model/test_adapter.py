"""Which layers an adapter gets, how it begins, and what its gradients are where memory is saved."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from mmst_cli.config.schema import AdapterConfig, ModelConfig
from mmst_cli.errors import ModelError
from mmst_cli.model.adapter import add_adapter
from mmst_cli.model.adapter_layers import check_adapter_fits
from mmst_cli.model.load_model import load_model
from mmst_cli.model.model_changes import freeze
from mmst_cli.model.weightless import load_without_weights

CPU = torch.device("cpu")


def lora(name, **adapter):
    return ModelConfig(name_or_path=f"builtin:{name}", adapter=AdapterConfig(**{"r": 4, "dropout": 0.0, **adapter}))


def with_adapter(config, seed=1, frozen=()):
    config = config.model_copy(update={"frozen": list(frozen)})
    model, _ = load_model(config, CPU)
    freeze(model, config.frozen)
    return model, add_adapter(model, config, seed)


def adapted(model):
    return {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}


@pytest.fixture(scope="module")
def lists():
    return lora("tiny-qwen3-vl", target_modules=["q_proj", "linear_fc1"])


def test_ends_of_names_expressions_and_what_is_frozen_choose_the_layers(lists):
    found = adapted(with_adapter(lists)[0])
    assert found and {name.rpartition(".")[2] for name in found} == {"q_proj", "linear_fc1"}
    assert adapted(with_adapter(lists, frozen=["visual"])[0]) == {name for name in found if "visual" not in name}
    expression = lora("tiny-qwen3-vl", target_modules=r"language_model.*\.(q|v)_proj")
    assert {name.rpartition(".")[2] for name in adapted(with_adapter(expression)[0])} == {"q_proj", "v_proj"}
    with pytest.raises(ModelError, match=r"^model\.adapter\.target_modules: all-linear: no layer is left .*frozen"):
        with_adapter(lora("tiny-qwen3-vl"), frozen=[r"proj|fc\d|qkv"])
    with pytest.raises(ModelError, match=r"^model\.adapter\.target_modules: nothing.*: no layer is found .*q_proj"):
        with_adapter(lora("tiny-qwen3-vl", target_modules="nothing.*"))
    with pytest.raises(ModelError, match=r"^model\.adapter: Target module .*Norm"):
        with_adapter(lora("tiny-qwen3-vl", target_modules=["input_layernorm"]))
    check_adapter_fits(load_without_weights(lists), lists)


@pytest.mark.parametrize(
    ("adapter", "frozen", "said"),
    [
        ({"target_modules": ".*layers.1"}, [], r"target_modules: \.\*layers\.1: .*layers\.1 is found by it, a Qwen3VL"),
        ({"r": 10**10}, [], r"r: found 10000000000, but no layer .* has a rank above \d+, .* Write \d+ or less\.$"),
        ({"modules_to_save": ["norm"]}, [r"\.norm\."], r"modules_to_save\.0: norm: all that .* is frozen"),
        ({"modules_to_save": ["visual"]}, [r"patch_embed\.proj"], r"modules_to_save\.0: visual: .* freezes a part"),
    ],
)
def test_what_can_not_be_is_told_before_weights_are_read(adapter, frozen, said):
    config = lora("tiny-qwen3-vl", **adapter).model_copy(update={"frozen": frozen})
    with pytest.raises(ModelError, match=rf"^model\.adapter\.{said}") as found:
        check_adapter_fits(load_without_weights(config), config)
    assert "\n" not in str(found.value)


def test_a_frozen_layer_takes_no_adapter_from_one_whose_name_ends_alike():
    for frozen, left in ((r"model\.tower", "other.tower.proj"), (r"model\.other", "model.tower.proj")):
        model, _ = load_model(lora("tiny-text"), CPU)
        encoder = model.transformers_model
        encoder.add_module("tower", nn.ModuleDict({"proj": nn.Linear(8, 8)}))
        encoder.add_module("other", nn.ModuleDict({"tower": nn.ModuleDict({"proj": nn.Linear(8, 8)})}))
        config = lora("tiny-text", target_modules=["proj"]).model_copy(update={"frozen": [frozen]})
        add_adapter(model, config, 1)
        (found,) = adapted(model)
        assert found.endswith(left)


def test_it_begins_as_the_seed_says_and_changes_nothing_yet(lists):
    torch.manual_seed(3)
    one, said = with_adapter(lists)
    state = torch.get_rng_state()
    torch.manual_seed(4)
    other, again = with_adapter(lists)[0], with_adapter(lists, seed=2)[0]
    torch.manual_seed(3)
    assert torch.equal(state, torch.get_rng_state())  # training draws what it would have drawn
    drawn = [{n: p for n, p in model.named_parameters() if "lora_A" in n} for model in (one, other, again)]
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not any(torch.equal(drawn[0][name], drawn[2][name]) for name in drawn[0])
    assert {name for name, one in one.named_parameters() if one.requires_grad} >= set(drawn[0])
    assert all("lora_" in name for name, one in one.named_parameters() if one.requires_grad)
    base = load_model(ModelConfig(name_or_path="builtin:tiny-qwen3-vl"), CPU)[0]
    assert torch.equal(one.encode("a page", convert_to_tensor=True), base.encode("a page", convert_to_tensor=True))
    assert said.startswith("LoRA of rank 4 on ")
    settings = one.transformers_model.peft_config["default"]
    assert settings.base_model_name_or_path == base[0].model.name_or_path


def gradients(model, inputs, **options):
    if options:
        model.transformers_model.activation_checkpointing_enable(**options)
    model.train()
    model(model.preprocess(inputs))["sentence_embedding"].sum().backward()
    return {name: one.grad for name, one in model.named_parameters() if one.requires_grad}


def test_saving_memory_changes_no_gradient_in_any_tower(pages, lists):
    def model():
        found = with_adapter(lists)[0]
        with torch.no_grad():
            for name, one in found.named_parameters():
                if "lora_B" in name:
                    one.fill_(0.01)
        return found

    plain = gradients(model(), pages[:2])
    saved = gradients(model(), pages[:2], activation_checkpointing_kwargs=None)
    assert plain.keys() == saved.keys() and any("visual" in name for name in plain)
    assert all(torch.allclose(plain[name], saved[name], atol=1e-6) for name in plain)


def test_statistics_that_move_are_no_part_of_an_adapter():
    with pytest.raises(ModelError, match=r"BatchNorm.*model\.adapter\.modules_to_save=\[(\w+)(, \w+)*\]"):
        with_adapter(lora("tiny-clap"))


def test_what_has_no_encoder_of_transformers_or_several_takes_none():
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = SentenceTransformer(modules=[StaticEmbedding(Tokenizer(WordLevel({"a": 0})), embedding_dim=4)])
    with pytest.raises(ModelError, match=r"^model\.adapter: this is no model of transformers"):
        check_adapter_fits(words, lora("tiny-text"))


def test_of_two_billion_parameters_less_than_three_in_a_hundred_are_trained():
    """The sizes of Qwen3-VL-2B, without values."""
    from transformers import Qwen3VLConfig, Qwen3VLModel

    text = {"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16}
    text |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
    seen = {"hidden_size": 1024, "intermediate_size": 4096, "depth": 24, "num_heads": 16, "out_hidden_size": 2048}
    with torch.device("meta"):
        model = Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=seen))
        from peft import LoraConfig

        whole = model.num_parameters()
        model.add_adapter(LoraConfig(r=32, lora_alpha=32, target_modules="all-linear"))
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    assert 2.0e9 < whole < 2.3e9
    assert 0.01 < trained / whole < 0.03
