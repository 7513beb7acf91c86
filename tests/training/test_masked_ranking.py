"""mask_false_negatives: what scores far above a row's positive is left out, and nothing else is another loss."""

import json

import pytest
import torch
from sentence_transformers import SentenceTransformer
from text_job import PAIRS, run, text_job, text_rows

from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.config.schema import LossConfig
from mmst_cli.training.loss import build_loss
from mmst_cli.training.masked_ranking import MaskedRankingLoss, MaskMeter

CACHED = "CachedMultipleNegativesRankingLoss"
DIMS = [128, 16]
MATRYOSHKA = LossConfig(type="MatryoshkaLoss", args={"matryoshka_dims": DIMS})
ROWS = 10
MARGIN = -0.004
"""Vectors of random weights are close together: below the positive is where some of the documents are."""
COLUMNS = ("query", "doc", "other")


@pytest.fixture(scope="module")
def model():
    return SentenceTransformer(str(build_tiny_text()), device="cpu").eval()


def batch(model):
    rows = text_rows(ROWS, other=[f"birch lies by {i % 3}" for i in range(ROWS)])
    return [model.preprocess([{"text": row[name]} for row in rows]) for name in COLUMNS]


def built(model, margin, wrapped):
    args = {"mini_batch_size": 4} | ({} if margin is None else {"mask_false_negatives": margin})
    return build_loss([LossConfig(type=CACHED, args=args), *([MATRYOSHKA] if wrapped else [])], model)


def loss_and_gradients(model, loss):
    model.zero_grad()
    value = loss(batch(model), None)
    value.backward()
    return value.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def vectors(model, dim=128):
    with torch.no_grad():
        found = [model(features)["sentence_embedding"][:, :dim] for features in batch(model)]
    return [torch.nn.functional.normalize(one, dim=1) for one in found]


def mask(model, margin):
    """Which documents are left out, by hand: (anchors, documents), positives first."""
    anchors, *documents = vectors(model)
    scores = anchors @ torch.cat(documents).T
    own = torch.eye(ROWS, dtype=torch.bool).repeat(1, 2)
    return (scores > scores.diagonal()[:, None] + margin) & ~own


def by_hand(model, margin, dim):
    anchors, *documents = vectors(model, dim)
    scores = 20 * (anchors @ torch.cat(documents).T).masked_fill(mask(model, margin), -torch.inf)
    return torch.nn.functional.cross_entropy(scores, torch.arange(ROWS))


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in Matryoshka"])
def test_where_nothing_is_masked_it_is_the_librarys_loss_bitwise(model, wrapped):
    ours, theirs = (loss_and_gradients(model, built(model, margin, wrapped)) for margin in (2.5, None))
    assert torch.equal(ours[0], theirs[0]) and len(ours[1]) == len(theirs[1]) > 0
    assert all(torch.equal(one, other) for one, other in zip(ours[1], theirs[1], strict=True))


@pytest.mark.parametrize("margin", [MARGIN, 2 * MARGIN])
def test_documents_of_other_rows_above_the_margin_are_left_out(model, margin):
    assert 0 < mask(model, margin).sum() < ROWS * 2 * (ROWS - 1)
    loss = built(model, margin, wrapped=False)
    value, _ = loss_and_gradients(model, loss)
    assert float(value) == pytest.approx(float(by_hand(model, margin, 128)), rel=1e-5)
    assert value != loss_and_gradients(model, built(model, None, wrapped=False))[0]


def test_in_matryoshka_the_whole_vectors_decide_for_all_dimensions(model):
    value, _ = loss_and_gradients(model, built(model, MARGIN, wrapped=True))
    wanted = sum(float(by_hand(model, MARGIN, dim)) for dim in DIMS)
    assert float(value) == pytest.approx(wanted, rel=1e-5)


def test_the_share_is_that_of_the_negatives_from_other_rows_in_training(model):
    loss = built(model, MARGIN, wrapped=True)
    meter = MaskMeter(loss)
    with torch.no_grad():
        loss(batch(model), None)
    assert meter.read() == 0
    loss_and_gradients(model, loss)
    assert meter.read() == float(mask(model, MARGIN).sum()) / (ROWS * 2 * (ROWS - 1))
    assert meter.read() == 0
    assert MaskMeter(built(model, None, wrapped=True)).read() is None


def test_a_run_logs_the_share(tmp_path, quiet):
    config = text_job(tmp_path, columns=PAIRS, max_steps=2)
    config["loss"] = [{"type": CACHED, "args": {"mask_false_negatives": MARGIN, "mini_batch_size": 4}}]
    run(config, tmp_path, quiet)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    shares = [line["masked_negatives"] for line in lines if "loss" in line]
    assert len(shares) == 2 and 0 < max(shares) < 1
    assert f"  {shares[0]:.2%} of in-batch negatives masked  " in (tmp_path / "run/log.txt").read_text()


def test_its_batches_stay_on_the_host_as_the_librarys(model):
    from mmst_cli.training.host_batches import takes_mini_batches

    assert takes_mini_batches(built(model, 0.1, wrapped=True))
    assert isinstance(built(model, 0.1, wrapped=False), MaskedRankingLoss)


def test_where_mini_batches_are_tried_it_waits_for_no_other_process(model, monkeypatch):
    from mmst_cli.training import masked_ranking, mini_batches

    monkeypatch.setattr(mini_batches.processes, "count", lambda: 2)
    gather = masked_ranking.all_gather_with_grad
    with mini_batches._gathered_alone(built(model, MARGIN, wrapped=True)):
        assert len(masked_ranking.all_gather_with_grad(torch.ones(3))) == 6
    assert masked_ranking.all_gather_with_grad is gather
