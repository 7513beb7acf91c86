"""Numbers in the arguments of losses that would give no loss, turn it around, or do nothing."""

import pytest

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError

JOB = """
model: {name_or_path: some/model}
datasets:
  train:
    use: train
    path: some/data
    columns: {query: {role: anchor}, doc: {role: positive}}
loss: [{type: LOSS, args: ARGS}, {type: WRAPPER, args: OTHERS}]
training: {batch_sampler: no_duplicates}
"""
RANKING = "CachedMultipleNegativesRankingLoss"
GUIDED = "{guide: {name_or_path: some/model}, temperature: %s}"
DIMS = "{matryoshka_dims: [64, 32], %s}"


@pytest.fixture
def check(tmp_path):
    def checked(loss, args, wrapper="MatryoshkaLoss", others="{matryoshka_dims: [64, 32]}", **options):
        text = JOB.replace("WRAPPER", wrapper).replace("LOSS", loss).replace("ARGS", args).replace("OTHERS", others)
        (tmp_path / "job.yaml").write_text(text)
        return check_config(load_config(tmp_path / "job.yaml"), **options)

    return checked


@pytest.mark.parametrize(
    "value",
    ["scale: .inf", "scale: .nan", "scale: 0", "scale: -20"],
)
def test_numbers_of_a_ranking_loss(check, value):
    with pytest.raises(ConfigError, match=rf"^loss\.0\.args\.{value.split(':')[0]}: found .*[.]$"):
        check(RANKING, f"{{{value}}}")


@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf"])
def test_temperatures(check, value):
    with pytest.raises(ConfigError, match=r"loss\.0\.args\.temperature: found .*, but it is "):
        check("CachedGISTEmbedLoss", GUIDED % value)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ("matryoshka_weights: [.nan, 1]", "found nan, but it is a finite number"),
        ("matryoshka_weights: [-1, 1]", "found -1, 1, but a weight is 0 or more"),
        ("matryoshka_weights: [0, 0]", "found 0, 0, but one of them is more than 0"),
        ("n_dims_per_step: 0", "found 0, but it is between 1 and 2, or -1 for all"),
        ("n_dims_per_step: 3", "found 3, but it is between 1 and 2, or -1 for all"),
        ("n_dims_per_step: -2", "found -2, but it is between 1 and 2, or -1 for all"),
    ],
)
def test_what_dimensions_are_weighted_by_and_how_many_there_are(check, others, words):
    with pytest.raises(ConfigError, match=rf"^loss\.1\.args\.{others.split(':')[0]}: {words}"):
        check(RANKING, "{}", others=DIMS % others)


@pytest.mark.parametrize(
    "others",
    ["n_layers_per_step: 0", "prior_layers_weight: -1", "last_layer_weight: .nan", "kl_temperature: -0.3"],
)
def test_numbers_of_layers(check, others):
    with pytest.raises(ConfigError, match=rf"^loss\.1\.args\.{others.split(':')[0]}: found "):
        check("MultipleNegativesRankingLoss", "{}", "AdaptiveLayerLoss", f"{{{others}}}")


def test_what_is_meant_passes(check):
    check(RANKING, "{scale: 1, mask_false_negatives: -0.1}", others=DIMS % "matryoshka_weights: [1, 0]")
    check(RANKING, "{}", others=DIMS % "n_dims_per_step: 1")
    check(RANKING, "{}", others=DIMS % "n_dims_per_step: -1")
    check("MultipleNegativesRankingLoss", "{}", "AdaptiveLayerLoss", "{kl_temperature: 0, n_layers_per_step: 99}")


def test_a_run_that_was_trained_so_is_still_evaluated(check):
    check(RANKING, "{}", others=DIMS % "n_dims_per_step: 0", for_training=False, for_mining=True)


def test_what_is_said_of_pushing_without_pushing_is_told(tmp_path):
    text = JOB.replace("WRAPPER", "MatryoshkaLoss").replace("LOSS", RANKING).replace("ARGS", "{}")
    (tmp_path / "job.yaml").write_text(text.replace("OTHERS", "{matryoshka_dims: [64, 32]}"))
    named = ["training.hub_model_id=me/mine", "training.hub_private_repo=false"]
    assert check_config(load_config(tmp_path / "job.yaml", named)) == [
        "training.hub_model_id: nothing is pushed without training.push_to_hub=true."
    ]
    assert not check_config(load_config(tmp_path / "job.yaml", [*named, "training.push_to_hub=true"]))
