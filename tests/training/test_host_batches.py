"""Batches that stay on the host: the losses of the library, and on the device nothing but mini-batches."""

import copy
from collections.abc import Mapping

import pytest
import torch
from sentence_transformers.sentence_transformer import losses
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.model.preprocessor import Preprocessor, without_weights
from mmst_cli.model.raw_pixels import raw_pixels_of
from mmst_cli.training import host_batches
from mmst_cli.training.host_batches import DUE, DueInputs, left_on_host, takes_mini_batches
from mmst_cli.training.time_account import TimeAccount
from mmst_cli.training.train import run_training
from mmst_cli.training.trainer_batches import BatchTrainer

CPU = torch.device("cpu")
KINDS = {
    "ranking": lambda model: losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2),
    "by tokens": lambda model: losses.CachedMultipleNegativesRankingLoss(model, mini_batch_num_tokens=80),
    "matryoshka": lambda model: losses.MatryoshkaLoss(
        model, losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=4), [128, 8]
    ),
    "guided": lambda model: losses.CachedGISTEmbedLoss(model, copy.deepcopy(model), mini_batch_size=2),
}


@pytest.fixture
def restless(tiny_model):
    """A model with dropout, so that its second pass has to draw what the first one drew."""
    model = copy.deepcopy(tiny_model)
    model.add_module("drop", torch.nn.Identity())
    model.drop = _Dropout()
    return model


class _Dropout(torch.nn.Module):
    def forward(self, features):
        features["sentence_embedding"] = torch.nn.functional.dropout(features["sentence_embedding"], 0.2)
        return features


def gradients(model, loss, features):
    torch.manual_seed(3)
    model.zero_grad()
    value = loss(features, None)
    value.backward()
    return value.detach(), [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def on_host(model, inputs):
    """Return the columns of a batch as a trainer finds them that leaves them on the host."""
    batch = {}
    for column, values in inputs.items():
        features = Preprocessor(model, raw_pixels_of(model))(values)
        batch |= {f"{column}_{name}": value for name, value in features.items()}
    batch = left_on_host(batch, inputs, CPU)
    return [
        {name.removeprefix(f"{column}_"): value for name, value in batch.items() if name.startswith(f"{column}_")}
        for column in inputs
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_bitwise_those_of_whole_batches(kind, restless, pages, queries):
    inputs = {"query": list(queries[:6]), "page": list(pages[:6])}
    loss = KINDS[kind](restless)
    expected = gradients(restless, loss, [restless.preprocess(values) for values in inputs.values()])
    assert takes_mini_batches(loss)
    DueInputs(CPU, raw_pixels_of(restless), TimeAccount(CPU)).watch(loss)
    found = gradients(restless, loss, on_host(restless, inputs))
    assert torch.equal(found[0], expected[0]) and len(found[1]) == len(expected[1]) > 50
    assert all(torch.equal(*pair) for pair in zip(found[1], expected[1], strict=True))


def test_losses_that_see_whole_batches_get_them_on_the_device(tiny_model):
    ranking = losses.CachedMultipleNegativesRankingLoss(tiny_model)
    assert not takes_mini_batches(losses.MultipleNegativesRankingLoss(tiny_model))
    assert not takes_mini_batches(losses.MegaBatchMarginLoss(tiny_model, use_mini_batched_version=False))
    assert not takes_mini_batches(losses.AdaptiveLayerLoss(tiny_model, ranking))

    class Own(losses.CachedMultipleNegativesRankingLoss):
        """May look at its inputs."""

    assert not takes_mini_batches(Own(tiny_model))


def test_what_is_due_is_copied_and_the_rest_is_not(tiny_model, queries):
    meta = torch.device("meta")
    due = DueInputs(meta, None, TimeAccount(meta))
    (features,) = on_host(tiny_model, {"query": list(queries[:2])})
    (moved,) = due._copy_due(tiny_model, (features,))
    tensors = [value for value in moved.values() if isinstance(value, torch.Tensor)]
    assert tensors and all(value.is_meta for value in tensors) and DUE not in moved and DUE in features
    assert due._copy_due(tiny_model, (tiny_model.preprocess(["a"]),)) is None
    loss = losses.CachedMultipleNegativesRankingLoss(copy.deepcopy(tiny_model))
    due.watch(loss)
    assert loss.model._forward_pre_hooks and not without_weights(loss.model)._forward_pre_hooks


def test_a_run_holds_one_mini_batch_on_the_device(tmp_path, quiet, monkeypatch):
    copied, built = [], []
    move, build = DueInputs._moved, BatchTrainer._build_dataloader

    def note(self, features: Mapping):
        copied.append({name: len(value) for name, value in features.items() if isinstance(value, torch.Tensor)})
        return move(self, features)

    def note_loader(*arguments, **keywords):
        built.append(build(*arguments, **keywords))
        return built[-1]

    monkeypatch.setattr(host_batches.DueInputs, "_moved", note)
    monkeypatch.setattr(BatchTrainer, "_build_dataloader", note_loader)
    run_training(load_config(write_job(job(tmp_path, max_steps=2), tmp_path / "job.yaml")), terminal=quiet)
    assert {one["input_ids"] for one in copied} == {8}
    assert len(copied) >= 2 * 2 * 4  # steps, columns, and two passes over two mini-batches each
    assert built and all(loader.device is None for loader in built)
