"""What `datasets.X.mine` can't be, and what it does to the rules of losses."""

import pytest
import yaml

from mmst_cli.config.load import config_to_yaml, load_config
from mmst_cli.config.rules import check_config
from mmst_cli.config.rules_mining import negative_names
from mmst_cli.config.schema import Index, MineConfig, Sampling
from mmst_cli.errors import ConfigError


@pytest.fixture
def faults(tmp_path):
    """A function that returns the faults of a config with changes, one sentence each."""

    def find(*overrides):
        tree = {
            "model": {"name_or_path": "a/b"},
            "datasets": {
                "train": {
                    "use": "train",
                    "path": "a/b",
                    "columns": {"q": {"role": "anchor"}, "p": {"role": "positive"}},
                    "mine": {},
                },
                "eval": {"use": "eval", "path": "a/b", "columns": {"q": {"role": "anchor"}, "p": {"role": "positive"}}},
            },
            "loss": [{"type": "MultipleNegativesRankingLoss"}],
            "training": {"batch_sampler": "no_duplicates"},
        }
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(tree))
        try:
            check_config(load_config(path, overrides))
        except ConfigError as error:
            return error.faults
        return []

    return find


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["datasets.train.columns.n={role: negative, fill: sample}"], "datasets.train.columns.n.take", "missing"),
        (["datasets.train.columns.p.fill=sample"], "datasets.train.columns.p.fill", "only lists of negatives"),
        (
            ["datasets.eval.columns.n={role: negative, fill: mine, take: 2}"],
            "datasets.eval.columns.n.fill",
            "Set sample",
        ),
        (
            ["datasets.train.columns.n={role: negative, fill: repeat, take: 2}", "datasets.train.columns.s.role=label"],
            "datasets.train.columns.n.fill",
            "s says something of the negatives that a row has",
        ),
        (
            ["datasets.train.columns.n={role: negative, fill: smaple, take: 2}"],
            "datasets.train.columns.n.fill",
            "sample",
        ),
    ],
)
def test_what_cannot_be_filled_up(faults, overrides, key, words):
    assert any(fault.startswith(f"{key}: ") and words in fault for fault in faults(*overrides)), faults(*overrides)


def test_mining_that_fills_adds_no_columns(faults):
    loss = "loss=[{type: TripletLoss}]"
    fill = "datasets.train.columns.n={role: negative, fill: mine, take: 1}"
    assert any("found 5 input columns" in fault for fault in faults(loss, "datasets.eval.columns.n.role=negative"))
    assert faults(loss, fill, "datasets.eval.columns.n.role=negative") == []
    assert faults(fill, "datasets.train.mine=null") == []


def test_self_is_the_model_of_the_file(faults, tmp_path):
    assert faults() == []
    assert load_config(tmp_path / "job.yaml", [f"{MINE}.model=self"]).datasets["train"].mine == MineConfig()
    assert faults(f"{MINE}.every_epochs=3", "training.max_steps=9") == []  # the rows tell


def test_an_empty_section_is_the_defaults(faults, tmp_path):
    assert faults() == []
    config = load_config(tmp_path / "job.yaml", ["datasets.train.mine={num_negatives: 2, sampling_strategy: random}"])
    assert config.datasets["train"].mine == MineConfig(num_negatives=2, sampling_strategy=Sampling.random)
    assert load_config(tmp_path / "job.yaml").datasets["train"].mine == MineConfig()
    assert load_config(tmp_path / "job.yaml").datasets["eval"].mine is None
    again = tmp_path / "again.yaml"
    again.write_text(config_to_yaml(config))
    assert load_config(again) == config


MINE = "datasets.train.mine"
CASES = {
    "no negatives": ([f"{MINE}.num_negatives=0"], f"{MINE}.num_negatives: found 0; it is 1 or more."),
    "a range that begins below 0": ([f"{MINE}.range_min=-1"], f"{MINE}.range_min: found -1"),
    "a range that ends before it begins": ([f"{MINE}.range_min=9", f"{MINE}.range_max=5"], "leaves 0 documents"),
    "a range that is too short": ([f"{MINE}.range_max=2"], "leaves 2 documents behind the first 0"),
    "scores that cross": ([f"{MINE}.min_score=0.9", f"{MINE}.max_score=0.1"], "0.9 is above max_score"),
    "rounds of no epoch": ([f"{MINE}.every_epochs=0"], f"{MINE}.every_epochs: found 0; it is 1 or more"),
    "rounds after the end": (
        [f"{MINE}.every_epochs=2", "training.num_train_epochs=2"],
        f"{MINE}.every_epochs: found 2, and training.num_train_epochs is 2: negatives are never renewed",
    ),
    "rounds and batches that shrink": (
        [f"{MINE}.every_epochs=1", "training.auto_find_batch_size=true"],
        f"{MINE}.every_epochs: training.auto_find_batch_size begins epochs again",
    ),
    "rounds of a wrong type": ([f"{MINE}.every_epochs=often"], f"{MINE}.every_epochs: found"),
    "a score that is none": ([f"{MINE}.min_positive_score=.nan"], f"{MINE}.min_positive_score: found nan"),
    "a second model without limits": ([f"{MINE}.second_model=a/b"], "nothing says what that is"),
    "a revision of nothing": ([f"{MINE}.revision=main"], f"{MINE}.revision: found without a model"),
    "an unknown setting": ([f"{MINE}.num_negative=1"], "Did you mean num_negatives?"),
    "an unknown strategy": ([f"{MINE}.sampling_strategy=tops"], "Did you mean top?"),
    "an unknown index": ([f"{MINE}.index=annoy"], "one of exact, faiss"),
    "a wrong type": ([f"{MINE}.relative_margin=much"], f"{MINE}.relative_margin: found"),
    "no mapping": ([f"{MINE}=true"], f"{MINE}: found true, but it takes a mapping"),
    "an eval set": (["datasets.eval.mine={}"], "datasets.eval.mine: only negatives of a training set"),
    "a stream": (["datasets.train.streaming=true", "training.max_steps=1"], f"{MINE}: mining compares all rows"),
    "two positives": (["datasets.train.columns.r={role: positive}"], "exactly one positive column, and there is 2"),
    "a label": (["datasets.train.columns.r={role: label}"], "a label says something of the inputs of its row"),
    "a name that a negative would have": (
        ["datasets.train.columns.negative={role: negative}", "datasets.train.columns.mined_1={role: negative}"],
        "datasets.train.columns.mined_1: mined negatives are called so",
    ),
    "a loss that takes fewer": (["loss.0.type=TripletLoss"], "5 input columns"),
    "a loss that takes none": (["loss.0.type=CosineSimilarityLoss"], "datasets.train.columns"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_it_cannot_be(case, faults):
    overrides, words = CASES[case]
    assert any(words in fault for fault in faults(*overrides)), faults(*overrides)


def test_a_loss_that_needs_negatives_gets_them(faults):
    one = [f"{MINE}.num_negatives=1", "loss.0.type=TripletLoss", "datasets.eval.columns.n={role: negative}"]
    assert faults(*one) == []
    assert any("TripletLoss" in fault for fault in faults(*one, f"{MINE}=null"))


def test_names_of_new_columns():
    assert negative_names(["q", "p"], 2) == ["negative_1", "negative_2"]
    assert negative_names(["q", "negative_7"], 1) == ["mined_1"]
    assert negative_names(["q", "negative"], 1) == ["mined_1"]
    assert negative_names(["negatives"], 1) == ["negative_1"]
    assert list(Index) == ["exact", "faiss"]
