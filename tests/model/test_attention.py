import pytest
import torch

from mmst_cli.config.schema import Attention
from mmst_cli.errors import ModelError
from mmst_cli.model import attention
from mmst_cli.model.attention import choose_attention

CPU, GPU = torch.device("cpu"), torch.device("cuda")
FULL, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16


@pytest.fixture(params=[True, False])
def package(request, monkeypatch):
    monkeypatch.setattr(attention, "flash_attention_installed", lambda *_: request.param)
    return request.param


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(attention, "flash_attention_installed", lambda *_: True)


@pytest.mark.parametrize(
    ("weights", "autocast"), [(BF16, None), (FP16, None), (FULL, BF16), (FULL, FP16), (None, BF16), (BF16, BF16)]
)
@pytest.mark.parametrize("requested", [Attention.auto, Attention.flash_attention_2])
def test_flash_where_package_gpu_and_half_precision_are_there(requested, weights, autocast, installed):
    chosen = choose_attention(requested, GPU, weights, autocast)
    assert chosen.implementation == "flash_attention_2"
    assert chosen.reason


@pytest.mark.parametrize(
    ("there", "device", "weights", "reason"),
    [
        (False, GPU, BF16, "neither of the packages flash-attn and kernels is installed"),
        (True, CPU, BF16, "it needs a CUDA device, and the device is cpu"),
        (False, CPU, FULL, "it needs a CUDA device, and the device is cpu"),
        (True, torch.device("mps"), FP16, "it needs a CUDA device, and the device is mps"),
        (True, GPU, FULL, "it needs half precision, and the model runs in float32"),
        (True, GPU, None, "write model.dtype=bfloat16"),
    ],
)
def test_otherwise_auto_takes_sdpa_and_flash_is_refused_for_one_reason(there, device, weights, reason, monkeypatch):
    monkeypatch.setattr(attention, "flash_attention_installed", lambda *_: there)
    chosen = choose_attention(Attention.auto, device, weights, None)
    assert chosen.implementation == "sdpa"
    assert reason in chosen.reason
    assert "\n" not in chosen.reason
    with pytest.raises(ModelError) as caught:
        choose_attention(Attention.flash_attention_2, device, weights, None)
    assert str(caught.value).startswith("model.attn_implementation: flash_attention_2 can't be used: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith("Write model.attn_implementation=auto, or sdpa.")


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize("requested", [Attention.sdpa, Attention.eager])
def test_what_is_always_there_is_taken(requested, device, package):
    assert choose_attention(requested, device, BF16, None).implementation == str(requested)


@pytest.mark.parametrize(
    ("wanted", "capability", "obstacle"),
    [
        ("flash_attention_2", (7, 5), "it needs compute capability 8.0, and this GPU has 7.5"),
        ("flash_attention_2", (8, 0), None),
        ("flash_attention_3", (7, 5), "it needs compute capability 8.0, and this GPU has 7.5"),
        ("flash_attention_3", (9, 0), None),
        ("flash_attention_4", (8, 9), "it needs compute capability 9.0, and this GPU has 8.9"),
    ],
)
def test_the_gpu_must_be_able_to(wanted, capability, obstacle, installed, monkeypatch):
    monkeypatch.setattr(attention, "compute_capability", lambda _: capability)
    if obstacle is None:
        assert choose_attention(wanted, GPU, BF16, None).implementation == wanted
        return
    with pytest.raises(ModelError, match=obstacle):
        choose_attention(wanted, GPU, BF16, None)
    if wanted == "flash_attention_2":
        chosen = choose_attention("auto", GPU, BF16, None)
        assert (chosen.implementation, chosen.reason) == ("sdpa", f"flash_attention_2 was not taken: {obstacle}")


def test_kernels_of_the_hub_need_their_package(monkeypatch):
    kernel = "kernels-community/flash-attn2"
    monkeypatch.setattr(attention, "kernels_installed", lambda: False)
    with pytest.raises(ModelError, match=f"{kernel} can't be used: it needs the package kernels"):
        choose_attention(kernel, GPU, BF16, None)
    monkeypatch.setattr(attention, "kernels_installed", lambda: True)
    assert choose_attention(kernel, GPU, BF16, None).implementation == kernel
    with pytest.raises(ModelError, match="it needs half precision"):
        choose_attention(kernel, GPU, FULL, None)


def test_flex_attention_is_taken_as_it_is(package):
    assert choose_attention("flex_attention", CPU, FULL, None).implementation == "flex_attention"


@pytest.mark.parametrize(("package_there", "kernels_there"), [(True, False), (False, True), (False, False)])
def test_the_package_or_a_kernel_will_do(package_there, kernels_there, monkeypatch):
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: package_there)
    monkeypatch.setattr("transformers.utils.is_kernels_available", lambda: kernels_there)
    assert attention.flash_attention_installed() == (package_there or kernels_there)
