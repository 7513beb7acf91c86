"""Patches that a convolution sees whole are multiplied, and nothing else is."""

import copy
import pickle

import pytest
import torch
from torch import nn

from mmst_cli.model.patch_embedding import multiply_patches

KERNEL = (2, 4, 4)


def patches(*size):
    return torch.randn(5, 3, *size, generator=torch.Generator().manual_seed(0))


def was_multiplied(monkeypatch):
    counted = []
    linear = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda *given: counted.append(1) or linear(*given))
    return counted


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "way", [lambda module: module, copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))]
)
def test_whole_patches_are_multiplied(monkeypatch, bias, way):
    module = nn.Conv3d(3, 7, KERNEL, stride=KERNEL, bias=bias)
    expected = module(patches(*KERNEL))
    assert multiply_patches(nn.Sequential(module)) == 1
    changed = way(module)
    counted = was_multiplied(monkeypatch)
    found = changed(patches(*KERNEL))
    assert counted
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_copy_has_weights_of_its_own():
    module = nn.Conv3d(3, 7, KERNEL)
    multiply_patches(module)
    copied = copy.deepcopy(module)
    with torch.no_grad():
        copied.weight.zero_()
        copied.bias.zero_()
    assert not copied(patches(*KERNEL)).any()
    assert module(patches(*KERNEL)).all()


def test_larger_inputs_are_convolved(monkeypatch):
    module = nn.Conv3d(3, 7, KERNEL, stride=KERNEL)
    expected = module(patches(4, 8, 8))
    multiply_patches(module)
    counted = was_multiplied(monkeypatch)
    assert torch.equal(module(patches(4, 8, 8)), expected)
    assert not counted


@pytest.mark.parametrize("odd", [{"padding": 1}, {"groups": 3, "out_channels": 6}, {"dilation": 2}])
def test_other_convolutions_stay(odd):
    module = nn.Conv3d(**{"in_channels": 3, "out_channels": 7, "kernel_size": KERNEL, **odd})
    assert multiply_patches(module) == 0
