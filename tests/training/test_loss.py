import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss

from mmst_cli.config.schema import Config, LossConfig
from mmst_cli.errors import ConfigError
from mmst_cli.training.loss import MatryoshkaMeter, build_loss, build_losses

DIMS = [128, 32, 8]
MATRYOSHKA = LossConfig(type="MatryoshkaLoss", args={"matryoshka_dims": DIMS})


def features(model):
    anchors = model.preprocess([{"text": f"a page with a {c} header"} for c in ("red", "blue", "green", "pink")])
    positives = model.preprocess([{"text": f"{c} header"} for c in ("red", "blue", "green", "pink")])
    return [anchors, positives]


@pytest.mark.parametrize("inner", ["CachedMultipleNegativesRankingLoss", "MultipleNegativesRankingLoss"])
def test_the_meter_adds_up_to_the_loss_and_changes_nothing(tiny_model, inner):
    layers = [LossConfig(type=inner), MATRYOSHKA]
    bare = build_loss(layers, tiny_model)(features(tiny_model), None)
    loss = build_loss(layers, tiny_model)
    meter = MatryoshkaMeter(loss)
    values = [loss(features(tiny_model), None) for _ in range(2)]
    assert torch.equal(values[0], bare)
    means = meter.read()
    assert list(means) == DIMS
    assert sum(means.values()) == pytest.approx(float(sum(values).detach()) / 2, rel=1e-6)
    assert meter.read() == {}


def test_an_evaluation_is_not_measured(tiny_model):
    loss = build_loss([LossConfig(type="CachedMultipleNegativesRankingLoss"), MATRYOSHKA], tiny_model)
    meter = MatryoshkaMeter(loss)
    with torch.no_grad():
        loss(features(tiny_model), None)
    assert meter.read() == {}


def test_layers_wrap_from_the_inside_out(tiny_model):
    loss = build_loss([LossConfig(type="MultipleNegativesRankingLoss", args={"scale": 5.0}), MATRYOSHKA], tiny_model)
    assert isinstance(loss, MatryoshkaLoss)
    assert loss.loss.scale == 5.0


def test_weights_of_a_loss_come_of_the_seed_alone(tiny_model):
    layers = [{"type": "SoftmaxLoss", "args": {"embedding_dimension": 128, "num_labels": 3}}]
    datasets = {"a": {"use": "train", "path": "x", "columns": {"q": {"role": "anchor"}}}}
    drawn = []
    for seed in (1, 1, 2):
        job = {"model": {"name_or_path": "x"}, "datasets": datasets, "loss": layers, "training": {"seed": seed}}
        loss = build_losses(Config.model_validate(job), tiny_model, ["a"])
        drawn.append((loss.classifier.weight, torch.rand(1)))  # what is drawn besides goes on as it would have
    assert torch.equal(drawn[0][0], drawn[1][0]) and not torch.equal(drawn[0][0], drawn[2][0])
    assert drawn[0][1] != drawn[1][1]


def test_a_refused_value_names_its_key(tiny_model):
    layers = [LossConfig(type="CachedMultipleNegativesRankingLoss", args={"mini_batch_num_tokens": -1})]
    with pytest.raises(ConfigError, match=r"loss\.0\.args: CachedMultipleNegativesRankingLoss: .*positive"):
        build_loss(layers, tiny_model)
