import pytest
import torch

from mmst_cli.errors import ConfigError
from mmst_cli.model.precision import Precision, check_precision, declared_precision, default_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """A function that fakes a GPU with or without bfloat16."""

    def fake(bfloat16):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or bfloat16
        )
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")

    return fake


@pytest.mark.parametrize(
    ("training", "dtype"),
    [
        ({}, None),
        ({"bf16": False, "fp16": False}, None),
        ({"bf16": True}, torch.bfloat16),
        ({"fp16": True}, torch.float16),
    ],
)
def test_the_declared_precision(training, dtype):
    assert declared_precision(training) == Precision(dtype)


def test_a_context_runs_in_the_declared_precision():
    layer, inputs = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with Precision(torch.bfloat16).context(CPU):
        assert layer(inputs).dtype == torch.bfloat16
    with Precision().context(CPU):
        assert layer(inputs).dtype == torch.float32
    assert layer(inputs).dtype == torch.float32


@pytest.mark.parametrize("training", [{}, {"bf16": False}, {"bf16": True, "use_cpu": True}])
def test_what_a_cpu_can_do(training):
    check_precision(training, CPU)


def test_fp16_needs_a_gpu():
    for device in (CPU, torch.device("mps")):
        with pytest.raises(ConfigError, match=rf"^training\.fp16: true, but the device is {device.type}"):
            check_precision({"fp16": True}, device)
    check_precision({"fp16": True}, GPU)


def test_bf16_on_a_cpu_must_be_meant():
    with pytest.raises(ConfigError, match=r"^training\.bf16: true, but there is no GPU here.*training\.use_cpu=true"):
        check_precision({"bf16": True}, CPU)


def test_bf16_needs_a_gpu_that_has_it(gpu):
    gpu(bfloat16=True)
    check_precision({"bf16": True}, GPU)
    gpu(bfloat16=False)
    with pytest.raises(ConfigError, match=r"^training\.bf16: true, but Tesla T4 has no bfloat16\. .*fp16=true"):
        check_precision({"bf16": True}, GPU)
    check_precision({"bf16": False, "fp16": True}, GPU)


def test_the_device(monkeypatch):
    monkeypatch.setattr("sentence_transformers.util.get_device_name", lambda: "cuda")
    assert default_device({}) == GPU
    assert default_device({"use_cpu": False}) == GPU
    assert default_device({"use_cpu": True}) == CPU
