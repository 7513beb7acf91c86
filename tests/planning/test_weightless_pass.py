"""What a pass takes, counted without weights, beside the same pass with them; and parameters by another account."""

from io import BytesIO

import pytest
import torch
from PIL import Image
from planning.qwen_folder import TEXT_2B, VISION_2B, parameters_of, write_folder
from torch.utils.flop_counter import FlopCounterMode

from mmst_cli.builtin.pages import generate_rows
from mmst_cli.config.schema import ModelConfig
from mmst_cli.model.load_model import load_model
from mmst_cli.model.preprocessor import without_weights
from mmst_cli.model.weightless import load_without_weights
from mmst_cli.planning.counted_operations import recomputed_alike
from mmst_cli.planning.planned_memory import count_weights
from mmst_cli.planning.weightless_pass import count_pass

SMALL_TEXT = {"vocab_size": 500, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}
SMALL_TEXT |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
SMALL_VISION = {"depth": 3, "hidden_size": 48, "intermediate_size": 80, "num_heads": 4, "out_hidden_size": 64}
SMALL_VISION |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}


@pytest.fixture(scope="module")
def model():
    return load_model(ModelConfig(name_or_path="builtin:tiny-qwen3-vl", dtype="float32"), torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def pages(model):
    return dict(model.preprocess(images(2)))


def images(count):
    return [Image.open(BytesIO(row["image"]["bytes"])) for row in generate_rows("train", count)]


@pytest.mark.parametrize("sizes", [(TEXT_2B, VISION_2B), (SMALL_TEXT, SMALL_VISION)], ids=["2B", "small"])
def test_parameters_are_those_of_the_architecture_to_the_unit(sizes, tmp_path):
    folder = write_folder(tmp_path / "model", *sizes)
    section = ModelConfig(name_or_path=str(folder))
    weights = count_weights(load_without_weights(section), section, {torch.float32: 8}, "adamw_torch_fused")
    assert weights.parameters == weights.trained == parameters_of(folder)
    assert weights.bytes == weights.trained_bytes == 4 * parameters_of(folder)
    assert weights.state_bytes == 8 * parameters_of(folder)


def test_what_autograd_keeps_and_what_is_computed_are_those_of_the_model_with_weights(model, pages):
    kept, own = {}, {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        if tensor.data_ptr() not in own and tensor.is_floating_point():
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    counter = FlopCounterMode(display=False)
    model[0].model.set_attn_implementation("eager")  # whose operations torch's counter knows on the CPU
    with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(dict(pages))["sentence_embedding"].sum().backward()
    model.zero_grad()
    found = count_pass(without_weights_trained(model), pages, 2)
    assert found.flops == counter.get_total_flops()
    assert found.kept == pytest.approx(sum(storage.nbytes() for storage in kept.values()), rel=0.01)
    assert found.peak >= found.kept > found.forward_peak > 0 and found.rows == 2 and found.tokens == 44


@pytest.mark.parametrize("name", ["tiny-clap", "tiny-clip", "tiny-text"])
def test_models_that_hold_positions_run_without_them(name):
    weightless = load_without_weights(ModelConfig(name_or_path=f"builtin:{name}"))
    found = count_pass(weightless, dict(weightless.preprocess(["a text", "another one"])), 2)
    assert found.flops == pytest.approx(3 * found.forward_flops, rel=0.01) and found.forward_flops > 0
    assert found.kept > 0 and found.fixed == 0


def without_weights_trained(model):
    weightless = without_weights(model)
    for parameter in weightless.parameters():
        parameter.requires_grad_(True)
    return weightless


def test_fused_attention_keeps_no_matrix_of_all_pairs(model, pages):
    weightless = without_weights_trained(model)
    weightless[0].model.set_attn_implementation("eager")
    eager = count_pass(weightless, pages, 2)
    weightless[0].model.set_attn_implementation("sdpa")
    fused = count_pass(weightless, pages, 2)
    assert fused.kept < eager.kept


def test_checkpointing_keeps_less_and_computes_the_forward_pass_again(model, pages):
    weightless = without_weights_trained(model)
    plain = count_pass(weightless, pages, 2)
    weightless.gradient_checkpointing_enable(
        gradient_checkpointing_kwargs={
            "use_reentrant": False,
            "preserve_rng_state": False,
            "context_fn": recomputed_alike,
        }
    )
    again = count_pass(weightless, pages, 2)
    assert again.kept < 0.7 * plain.kept
    assert plain.flops < again.flops <= plain.flops + plain.forward_flops


def test_what_is_frozen_takes_no_backward_pass(model, pages):
    weightless = without_weights_trained(model)
    whole = count_pass(weightless, pages, 2)
    for name, parameter in weightless.named_parameters():
        parameter.requires_grad_("visual" not in name)
    frozen = count_pass(weightless, pages, 2)
    assert frozen.kept < whole.kept and frozen.flops < whole.flops and frozen.forward_flops == whole.forward_flops


def test_under_autocast_matrices_are_multiplied_in_half_precision(model, pages):
    weightless = without_weights_trained(model)
    full, half = count_pass(weightless, pages, 2), count_pass(weightless, pages, 2, torch.bfloat16)
    weightless.to(torch.bfloat16)
    held = count_pass(weightless, pages, 2)
    copies = 2 * sum(parameter.numel() for parameter in weightless.parameters())  # of weights, for the whole pass
    assert held.kept < full.kept < half.kept < full.kept + copies and full.fixed == 0 < half.fixed <= copies
    assert half.scaled(8).forward_peak == half.fixed + 4 * (half.forward_peak - half.fixed)
    assert half.flops == full.flops == held.flops and half.kernels > full.kernels


def test_a_cost_of_more_rows_is_that_of_a_pass_with_more_rows(model):
    weightless = without_weights_trained(model)
    two, four = (count_pass(weightless, dict(model.preprocess(images(count))), count) for count in (2, 4))
    more = two.scaled(4)
    assert (more.rows, more.tokens, more.kept, more.flops) == (four.rows, four.tokens, four.kept, four.flops)
    assert more.peak == pytest.approx(four.peak, rel=0.05) and more.kernels == pytest.approx(four.kernels, rel=0.1)
