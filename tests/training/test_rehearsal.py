"""What a run would fail at after it was begun is said before anything is written."""

import gc
import json
import random
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.model.random_state import randomness_kept
from mmst_cli.preparing import prepared_config
from mmst_cli.training.rehearsal import Rehearsal, _state_kept
from mmst_cli.training.train import run_training
from mmst_cli.training.training_start import build_arguments

PAIR = {"query": {"role": "anchor"}, "doc": {"role": "positive"}}
TRIPLET = {**PAIR, "other": {"role": "negative"}}
LABEL = {"role": "label"}
MATRYOSHKA = {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}}


def row(index):
    return {
        "query": f"where is number {index}",
        "doc": f"here is number {index}",
        "other": f"there is number {index + 7}",
        "near": f"there is number {index + 9}",
        "kind": index % 3,
        "alike": 1,
        "same": index % 2 == 0,
        "pair": [index / 32, 0.1],
        "one": [index / 32],
        "share": index / 32,
        "ragged": [0.5] * (1 + index % 2),
        "vector": [((index + k) % 13) / 13 for k in range(128)],
        "several": [[0.5] * 128, [0.1] * 128],
    }


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps(row(index)) + "\n" for index in range(32)))
    return path


@pytest.fixture
def train(rows, tmp_path):
    """Train for a step in `run` below the test's folder, with other columns, losses and arguments."""

    def train(loss=("MultipleNegativesRankingLoss",), columns=PAIR, dry_run=False, **training):
        layers = [layer if isinstance(layer, dict) else {"type": layer} for layer in loss]
        config = {
            "output_dir": str(tmp_path / "run"),
            "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
            "datasets": {"train": {"use": "train", "path": str(rows), "columns": columns}},
            "loss": layers,
            "training": {
                "max_steps": 1,
                "per_device_train_batch_size": 8,
                "use_cpu": True,
                "save_strategy": "no",
                "logging_steps": 1,
                **training,
            },
        }
        path = tmp_path / "job.yaml"
        path.write_text(json.dumps(config))
        return run_training(load_config(path), dry_run=dry_run)

    return train


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("neftune_noise_alpha", 5, "No noise can be added"),
        ("lr_scheduler_type", "cosine_with_min_lr", "min_lr"),
        ("lr_scheduler_type", "warmup_stable_decay", "num_decay_steps"),
        ("lr_scheduler_kwargs", {"foo": 1}, "foo"),
        ("report_to", "nosuchtracker", "is not supported"),
        ("optim", "lomo", "pip install"),
        ("optim_args", "foo", "unpack"),
        ("learning_rate_mapping.nothing", {"nothing": 1e-3}, "no parameter has a name that matches"),
        ("learning_rate_mapping.[", {"[": 1e-3}, "not a regular expression"),
        ("use_liger_kernel", True, "no liger-kernel here"),
        ("fsdp", "full_shard", "isn't supported"),
        ("dataloader_persistent_workers", True, "num_workers"),
        ("torch_compile_backend", "foo", "not a valid"),
        ("torch_compile_mode", "foo", "Unrecognized mode"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_arguments_that_training_would_fail_at_are_refused_by_their_key(train, tmp_path, name, value, words, dry_run):
    with pytest.raises(ConfigError, match=rf"^training\.{re.escape(name)}: .*{words}"):
        train(**{name.partition(".")[0]: value}, dry_run=dry_run)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gradient_accumulation_steps", 0),
        ("learning_rate", -1),
        ("seed", -1),
        ("num_train_epochs", 0),
        ("max_steps", 0),
        ("adam_beta2", 1.0),
        ("warmup_steps", -5),
        ("logging_steps", 0),
        ("per_device_train_batch_size", -8),
    ],
)
def test_numbers_out_of_bounds_are_refused_by_their_key(train, name, value):
    with pytest.raises(ConfigError, match=rf"^training\.{name}: found {re.escape(str(value))}, but it is "):
        train(**{name: value})


def test_numbers_that_the_trainer_takes_are_not_refused(train):
    training = {"learning_rate": 0, "max_grad_norm": 0, "save_steps": 0, "seed": 0, "num_train_epochs": 0.5}
    train(**training, warmup_steps=0.1, ddp_backend="gloo", dry_run=True)


def test_a_tracker_that_is_not_to_be_had_fails_once(train, monkeypatch):
    monkeypatch.setenv("DISABLE_MLFLOW_INTEGRATION", "TRUE")
    failed_while_going = []
    monkeypatch.setattr(sys, "unraisablehook", failed_while_going.append)
    with pytest.raises(ConfigError, match=r"^training\.report_to: .*mlflow to be installed"):
        train(report_to="mlflow")
    gc.collect()
    assert failed_while_going == []


@pytest.mark.parametrize(
    ("loss", "columns", "key"),
    [
        (["MegaBatchMarginLoss", "AdaptiveLayerLoss"], PAIR, "loss.1.type"),
        (["GlobalOrthogonalRegularizationLoss", MATRYOSHKA], PAIR, "loss.1.type"),
        (
            [{"type": "SoftmaxLoss", "args": {"embedding_dimension": 64, "num_labels": 3}}],
            {**PAIR, "kind": LABEL},
            "loss",
        ),
        (
            [{"type": "SoftmaxLoss", "args": {"embedding_dimension": 128, "num_labels": 2}}],
            {**PAIR, "kind": LABEL},
            "loss.0.args.num_labels",
        ),
        (["MarginMSELoss"], {**TRIPLET, "vector": LABEL}, "datasets.train.columns.vector"),
        (["DistillKLDivLoss"], {**TRIPLET, "kind": LABEL}, "datasets.train.columns.kind"),
        (["CoSENTLoss"], {**PAIR, "pair": LABEL}, "datasets.train.columns.pair"),
        (["MSELoss"], {**PAIR, "one": LABEL}, "loss.0.args.projection_dim"),
        (["ContrastiveLoss"], {**PAIR, "kind": LABEL}, "datasets.train.columns.kind"),
        (["OnlineContrastiveLoss", MATRYOSHKA], {**PAIR, "share": LABEL}, "datasets.train.columns.share"),
        (["CosineSimilarityLoss"], {**PAIR, "kind": LABEL}, "datasets.train.columns.kind"),
        (["ContrastiveTensionLoss"], {**PAIR, "kind": LABEL}, "datasets.train.columns.kind"),
        (["DistillKLDivLoss"], {**TRIPLET, "several": LABEL}, "datasets.train.columns.several"),
        (["BatchHardTripletLoss"], {"query": PAIR["query"], "alike": LABEL}, "datasets.train.columns.alike"),
        (["BatchAllTripletLoss"], {"query": PAIR["query"], "share": LABEL}, "datasets.train.columns.share"),
        (["CoSENTLoss"], {**PAIR, "alike": LABEL}, "datasets.train.columns.alike"),
        (
            ["MarginMSELoss"],
            {**TRIPLET, "near": {"role": "negative"}, "share": LABEL},
            "datasets.train.columns.share",
        ),
        (["ContrastiveTensionLoss"], {**PAIR, "one": LABEL}, "datasets.train.columns.one"),
        (
            [{"type": "SoftmaxLoss", "args": {"embedding_dimension": 128, "num_labels": 3}}],
            {**PAIR, "share": LABEL},
            "datasets.train.columns.share",
        ),
    ],
)
def test_losses_that_cannot_be_computed_are_refused_by_their_key(train, tmp_path, monkeypatch, loss, columns, key):
    loaded, load = [], prepared_config.prepare_model
    monkeypatch.setattr(prepared_config, "prepare_model", lambda *a, **k: loaded.append(a) or load(*a, **k))
    with pytest.raises(ConfigError, match=f"^{re.escape(key)}: "):
        train(loss, columns)
    assert bool(loaded) == (key in ("loss", "loss.0.args.projection_dim"))  # the others need no model to be seen
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("loss", "columns"),
    [
        (["MSELoss"], {**PAIR, "several": LABEL}),
        (["MarginMSELoss"], {**TRIPLET, "kind": LABEL}),
        (["CoSENTLoss"], {**PAIR, "same": LABEL}),
        (["OnlineContrastiveLoss"], {**PAIR, "same": LABEL}),
    ],
)
def test_a_teachers_lists_and_true_and_false_are_labels(train, loss, columns):
    assert "gives a loss of" in train(loss, columns, dry_run=True).verdict


def test_labels_of_several_lengths_are_named_by_row(train):
    with pytest.raises(DataError, match=r"row 1, column ragged: the label is a list of 2, .* one of 1"):
        train(["MarginMSELoss"], {**TRIPLET, "ragged": LABEL})


def test_batches_by_label_take_true_and_false(train):
    columns = {"query": {"role": "anchor"}, "same": LABEL}
    train(["BatchAllTripletLoss"], columns, batch_sampler="group_by_label", dry_run=True)


@pytest.mark.parametrize(
    "loss", [["MultipleNegativesRankingLoss"], ["MultipleNegativesRankingLoss", "AdaptiveLayerLoss"]]
)
def test_the_first_step_is_the_same_with_a_rehearsal_and_without(train, monkeypatch, loss):
    """Random states and weights are as they were, and so are the layers that a loss of layers finds."""
    with_rehearsal = train(loss, dry_run=True).verdict
    monkeypatch.setattr("mmst_cli.training.training_job.rehearse", lambda *_: Rehearsal())
    assert with_rehearsal == train(loss, dry_run=True).verdict


def test_a_rehearsal_leaves_buffers_modes_and_random_states_as_they_were():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with randomness_kept(), _state_kept(SimpleNamespace(model=model, losses=[torch.nn.Identity()])):
        model.train()(torch.rand(4, 2)).sum().backward()
        random.random(), np.random.rand()
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == drawn[:2]
    assert torch.equal(torch.get_rng_state(), drawn[2])
    assert not model[1].training and model[0].weight.grad is None


def test_what_a_library_changes_in_arguments_changes_no_config(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps({"model": {"name_or_path": "x"}, "datasets": {}, "training": {"use_cpu": True}}))
    config = load_config(path)
    config.training["accelerator_config"] = {"gradient_accumulation_kwargs": {"num_steps": 2}}
    build_arguments(config, tmp_path).accelerator_config.gradient_accumulation_kwargs["num_steps"] = 1  # as accelerate
    assert config.training["accelerator_config"] == {"gradient_accumulation_kwargs": {"num_steps": 2}}


def test_a_config_whose_start_has_nothing_to_evaluate_is_refused(train):
    with pytest.raises(ConfigError, match=r"^training\.eval_on_start: there is nothing to evaluate"):
        train(eval_on_start=True)


def test_the_shipped_configs_keep_the_rules_for_numbers(request):
    for path in (request.config.rootpath / "configs").glob("quickstart*.yaml"):
        check_config(load_config(path))
