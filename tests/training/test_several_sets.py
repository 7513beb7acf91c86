"""Several training sets with columns and losses of their own, beside a plain script of sentence-transformers."""

import json

import pytest
from small_job import write_job

from mmst_cli.config.load import load_config
from mmst_cli.training.train import run_training

COLOURS = ("red", "blue", "green", "pink", "grey", "white", "black", "brown")
THINGS = ("header", "chart", "table", "stamp")
DIMS = [128, 32]


def pairs():
    return [{"query": f"a {c} {t}", "passage": f"the page shows a {t} in {c}"} for c in COLOURS for t in THINGS]


def scored():
    rows = [(f"{c} {t}", f"{c} {THINGS[(i + j) % 4]}") for i, c in enumerate(COLOURS) for j, t in enumerate(THINGS)]
    return [{"a": a, "b": b, "score": float(a == b)} for a, b in rows[:24]]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def several_job(folder, **training):
    """Pairs under MultipleNegativesRankingLoss in MatryoshkaLoss, and scored pairs under CoSENTLoss."""
    scores = {"a": {"role": "anchor"}, "b": {"role": "positive"}, "score": {"role": "label"}}
    return {
        "output_dir": str(folder / "run"),
        "model": {"name_or_path": "builtin:tiny-text", "dtype": "float32"},
        "datasets": {
            "pairs": {
                "use": "train",
                "path": write_rows(folder / "pairs.jsonl", pairs()),
                "columns": {"passage": {"role": "positive"}, "query": {"role": "anchor"}},
            },
            "scored": {
                "use": "train",
                "path": write_rows(folder / "scored.jsonl", scored()),
                "columns": scores,
                "loss": [{"type": "CoSENTLoss"}],
            },
        },
        "loss": [
            {"type": "MultipleNegativesRankingLoss"},
            {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": list(DIMS)}},
        ],
        "training": {**arguments(), **training},
    }


def arguments():
    return {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }


def train(config, folder, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), **options)


def lines(folder):
    return [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return {line["step"]: line["loss"] for line in lines(folder) if "loss" in line}


def plain_losses(folder, sets, loss_of, **training):
    """Train by hand: what the documentation of sentence-transformers shows for several datasets."""
    from datasets import Dataset, DatasetDict
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )

    from mmst_cli.builtin.tiny_text import build_tiny_text

    model = SentenceTransformer(str(build_tiny_text()), device="cpu")
    made = {name: Dataset.from_list(rows) for name, rows in sets.items()}
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(output_dir=str(folder), **{**arguments(), **training}),
        train_dataset=DatasetDict(made) if len(made) > 1 else made.popitem()[1],
        loss=loss_of(model),
    )
    trainer.train()
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}


def two_losses(model):
    from sentence_transformers.sentence_transformer import losses as library

    ranking = library.MultipleNegativesRankingLoss(model)
    return {
        "pairs": library.MatryoshkaLoss(model, ranking, matryoshka_dims=DIMS),
        "scored": library.CoSENTLoss(model),
    }


def ranking(model):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    return MultipleNegativesRankingLoss(model)


@pytest.mark.parametrize("sampler", ["proportional", "round_robin"])
@pytest.mark.parametrize("batches", ["batch_sampler", "no_duplicates"])
def test_losses_equal_those_of_a_plain_script_bitwise(tmp_path, sampler, batches):
    training = {"multi_dataset_batch_sampler": sampler, "batch_sampler": batches}
    train(several_job(tmp_path, **training), tmp_path)
    plain = plain_losses(tmp_path / "plain", {"pairs": pairs(), "scored": scored()}, two_losses, **training)
    assert losses(tmp_path) == plain
    assert len(plain) == {"proportional": 28, "round_robin": 24}[sampler]
    measured = [line["loss_per_dim"] for line in lines(tmp_path) if line.get("loss_per_dim")]
    assert 0 < len(measured) < len(plain), "only one of the two losses has dimensions"
    assert all(list(dims) == ["128", "32"] for dims in measured)


def test_prompts_by_role_equal_those_by_column_of_a_plain_script(tmp_path):
    config = several_job(tmp_path)
    config["prompts"] = {"anchor": "find: ", "positive": "page: "}
    config["datasets"]["scored"]["prompts"] = {"positive": "other: "}
    train(config, tmp_path)
    by_column = {
        "pairs": {"query": "find: ", "passage": "page: "},
        "scored": {"a": "find: ", "b": "other: "},
    }
    sets = {"pairs": pairs(), "scored": scored()}
    assert losses(tmp_path) == plain_losses(tmp_path / "plain", sets, two_losses, prompts=by_column)
    assert losses(tmp_path) != plain_losses(tmp_path / "plain", sets, two_losses)


def test_prompts_of_one_set_reach_training(tmp_path):
    config = several_job(tmp_path, max_steps=3)
    del config["datasets"]["scored"], config["loss"][1]
    config["prompts"] = {"anchor": "find: "}
    train(config, tmp_path)
    plain = plain_losses(tmp_path / "plain", {"pairs": pairs()}, ranking, max_steps=3, prompts={"query": "find: "})
    assert losses(tmp_path) == plain


def test_a_weight_shows_rows_as_often_as_it_says(tmp_path):
    config = several_job(tmp_path)
    config["datasets"]["scored"]["weight"] = 2
    config["datasets"]["pairs"]["weight"] = 0.5
    train(config, tmp_path)
    assert len(losses(tmp_path)) == 2 * (16 + 48) // 4


def test_every_set_is_tried_in_a_dry_run(tmp_path):
    result = train(several_job(tmp_path), tmp_path, dry_run=True)
    assert " on pairs, " in result.verdict and " on scored. Nothing was written." in result.verdict
    assert not (tmp_path / "run").exists()


def test_evaluation_losses_are_those_of_their_sets(tmp_path):
    config = several_job(tmp_path, eval_strategy="epoch", num_train_epochs=1)
    for name in ("pairs", "scored"):
        config["datasets"][f"{name}-eval"] = {**config["datasets"][name], "use": "eval"}
    train(config, tmp_path)
    found = {key for line in lines(tmp_path) for key in line}
    assert {"eval_pairs-eval_loss", "eval_scored-eval_loss"} <= found
    assert train(config, tmp_path, resume=False, overwrite=True).steps == 14


def test_one_evaluation_loss_of_its_own_beside_one_training_set(tmp_path):
    config = several_job(tmp_path, eval_strategy="epoch", num_train_epochs=1)
    config["datasets"]["scored"]["use"] = "eval"
    train(config, tmp_path)
    assert [line["step"] for line in lines(tmp_path) if "eval_loss" in line] == [8]
    plain = plain_losses(tmp_path / "plain", {"pairs": pairs()}, lambda m: two_losses(m)["pairs"], num_train_epochs=1)
    assert losses(tmp_path) == plain


def test_a_mean_over_evaluators_chooses_the_best_model(tmp_path):
    config = several_job(tmp_path, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True)
    config["training"]["metric_for_best_model"] = "eval_mean"
    pairs_of_eval = {**config["datasets"]["pairs"], "use": "eval"}
    scores = {key: value for key, value in config["datasets"]["scored"].items() if key != "loss"}
    config["datasets"] |= {"found": pairs_of_eval, "rated": {**scores, "use": "eval"}}
    config["evaluators"] = {
        "finding": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "found"},
        "rating": {"type": "EmbeddingSimilarityEvaluator", "dataset": "rated"},
    }
    result = train(config, tmp_path)
    primary = [evaluation.result for evaluation in result.after.values()]
    final = sum(found.primary(found.full) for found in primary) / 2
    means = [line["eval_mean"] for line in lines(tmp_path) if "eval_mean" in line and line["step"]]
    assert final == pytest.approx(max(means), abs=1e-9)
    assert "pairs" in (tmp_path / "run/model/README.md").read_text()


def test_a_set_with_a_loss_of_its_own_may_be_called_as_modules_may_not(tmp_path, quiet):
    config = several_job(tmp_path, max_steps=2)
    config["datasets"] = {"train": config["datasets"]["scored"], "pairs": config["datasets"]["pairs"]}
    train(config, tmp_path, terminal=quiet)
    assert {line["step"] for line in lines(tmp_path)} >= {1, 2}
