import copy

import pytest

from mmst_cli.errors import ModelError
from mmst_cli.model.model_changes import freeze


@pytest.fixture
def model(tiny_model):
    return copy.deepcopy(tiny_model)


def test_matching_parameters_are_frozen_and_no_others(model):
    frozen, total = freeze(model, [r"\.visual\.", "embed_tokens"])
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != (".visual." in name or "embed_tokens" in name), name
    assert frozen == sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert 0 < frozen < total == sum(p.numel() for p in model.parameters())


def test_nothing_declared_is_nothing_frozen(model):
    assert freeze(model, [])[0] == 0


def test_a_pattern_that_matches_nothing(model):
    with pytest.raises(ModelError) as caught:
        freeze(model, ["visual", "embed_tokns"])
    assert str(caught.value).startswith(
        "model.frozen.1: embed_tokns: no parameter matches. Did you mean embed_tokens? Names are such as 0.model."
    )


def test_something_must_be_left_to_train(model):
    with pytest.raises(ModelError, match=r"^model\.frozen: visual, language: this leaves nothing to train\."):
        freeze(model, ["visual", "language"])


def test_a_step_changes_what_is_not_frozen(model):
    import torch

    freeze(model, ["visual"])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(model.preprocess(["a red page"]))["sentence_embedding"].sum().backward()
    optimizer.step()
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed and not any("visual" in name for name in changed)
