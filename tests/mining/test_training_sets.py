"""`mine:` in a config: mined before training, kept by content, and trained with."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from small_job import job, write_job
from text_job import PAIRS, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Role
from mmst_cli.errors import ConfigError, MmstError
from mmst_cli.mining import training_sets
from mmst_cli.model.load_model import find_model
from mmst_cli.training.train import run_training


@pytest.fixture
def config_of(tmp_path, monkeypatch):
    """A function giving the small job's config with changes, and a cache of its own."""
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))

    def make(mine=None, loss="MultipleNegativesRankingLoss", **training):
        config = job(tmp_path, **{"max_steps": 2, "per_device_train_batch_size": 8, **training})
        config["loss"] = [{"type": loss}]
        config["evaluators"] = {}
        config["datasets"].pop("eval")
        if mine is not None:
            config["datasets"]["train"]["mine"] = mine
        return load_config(write_job(config, tmp_path / "job.yaml"))

    return make


def said(quiet):
    return quiet.console.file.getvalue()


def test_a_set_is_mined_trained_on_and_not_mined_again(config_of, quiet, tmp_path, monkeypatch):
    config = config_of({"num_negatives": 2})
    first = run_training(config, terminal=quiet)
    assert first.steps == 2
    assert "negatives: train: mined: 2 for each of 96 of 96 rows" in said(quiet)
    assert (
        "negative_1 (negative, image), negative_2 (negative, image)" in (tmp_path / "run/model/README.md").read_text()
    )
    monkeypatch.setattr(training_sets, "mine_rows", lambda *_: pytest.fail("mined again"))
    again = run_training(config, terminal=quiet, overwrite=True)
    assert again.steps == 2
    assert "negatives: train: from " in said(quiet)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "loss" in line]) == 2


def test_what_decides_the_negatives_decides_what_is_kept(config_of, quiet, tmp_path):
    kept = set()
    for mine, changes in (
        ({"num_negatives": 2}, {}),
        ({"num_negatives": 2}, {"learning_rate": 1e-4}),
        ({"num_negatives": 1}, {}),
        ({"num_negatives": 1, "range_min": 1}, {}),
    ):
        run_training(config_of(mine, **changes), terminal=quiet, dry_run=True)
        kept = {path.name for path in (tmp_path / "cache").glob("mined-*")}
    assert len(kept) == 3
    assert not [path for folder in kept for path in (tmp_path / "cache" / folder).glob("*") if path.name == "work"]


def test_the_loss_counts_mined_negatives(config_of, quiet):
    with pytest.raises(ConfigError, match="TripletLoss takes 3 input columns"):
        run_training(config_of(None, loss="TripletLoss"), terminal=quiet, dry_run=True)
    assert run_training(config_of({"num_negatives": 1}, loss="TripletLoss"), terminal=quiet, dry_run=True).dry_run
    with pytest.raises(ConfigError, match="4 input columns"):
        run_training(config_of({"num_negatives": 2}, loss="TripletLoss"), terminal=quiet, dry_run=True)


def test_a_row_reads_the_positive_of_another_one(config_of, quiet, tmp_path):
    from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
    from mmst_cli.rows.row_keys import row_keys

    config = config_of({"num_negatives": 1})
    prepared = prepare_evaluation(config, quiet, ["train"])
    rows = prepared.rows["train"]
    mined = training_sets.mine_training_sets(config, prepared.rows, prepared.model, quiet)["train"].with_negatives()
    folder = next((tmp_path / "cache").glob("mined-*"))
    numbers = load_file(folder / "negatives.safetensors")
    negative = mined.with_role(Role.negative)[0]
    keys, own = row_keys(mined), row_keys(rows)
    assert len(mined) == len(numbers["kept"])
    for index in (0, 5, len(mined) - 1):
        other = int(numbers["negatives"][index, 0])
        read = mined.read(mined.rows[index])
        assert list(read) == ["query", "image", "negative_1"]
        assert read["negative_1"].tobytes() == rows.value_at(rows.columns[1], other).tobytes()
        assert mined.value_at(negative, index).tobytes() == read["negative_1"].tobytes()
        assert read["query"]["text"] == rows.value_at(rows.columns[0], int(numbers["kept"][index]))
        assert keys["negative_1"][index] == own["image"][other]
    values = list(mined.values(negative))
    assert values[5].tobytes() == mined.value_at(negative, 5).tobytes()


def test_duplicate_free_batches_see_the_mined_negatives(config_of, quiet):
    result = run_training(config_of({"num_negatives": 1}, batch_sampler="no_duplicates"), terminal=quiet)
    assert result.steps == 2


def test_a_set_is_mined_with_the_prompts_that_it_is_trained_with(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))
    config = text_job(tmp_path, max_steps=1)
    config["prompts"] = {"anchor": "query: ", "positive": "document: "}
    own = {"anchor": "Tell me, from a far and windy coast, "}
    config["datasets"]["train"] |= {"mine": {"num_negatives": 1}, "prompts": own}
    for prompts, mined in ((own, 1), ({}, 2), ({"positive": "page: "}, 3)):
        config["datasets"]["train"]["prompts"] = prompts
        run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet, dry_run=True)
        assert len(list((tmp_path / "cache").glob("mined-*"))) == mined
        folder = max((tmp_path / "cache").glob("mined-*"), key=lambda path: path.stat().st_ctime)
        found = load_file(folder / "negatives.safetensors")
        query, document = ({**config["prompts"], **prompts}[role] for role in ("anchor", "positive"))
        model = SentenceTransformer(str(find_model("builtin:tiny-text")), device="cpu")
        anchors = model.encode([query + row["query"] for row in text_rows()])
        documents = model.encode([document + row["doc"] for row in text_rows()])
        similarity = anchors @ documents.T
        chosen = np.column_stack([found["kept"], found["negatives"]])
        assert np.allclose(np.take_along_axis(similarity[found["kept"]], chosen, 1), found["scores"], atol=1e-5)


def test_another_model_mines(config_of, quiet, tiny_model_path):
    run_training(config_of({"model": str(tiny_model_path), "num_negatives": 1}), terminal=quiet, dry_run=True)
    assert f"with {tiny_model_path} on cpu" in said(quiet)


def test_lists_of_negatives_are_filled_up_by_mining(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))
    rows = text_rows(24, hard=[[f"never {i} {k}" for k in range(i % 4)] for i in range(24)])
    columns = {**PAIRS, "hard": {"role": "negative", "take": 2, "fill": "mine"}}
    config = text_job(tmp_path, rows, columns=columns, max_steps=2, batch_sampler="no_duplicates")
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet)
    assert "negatives: train: hard filled up for 24 of 24 rows" in " ".join(said(quiet).split())
    card = (tmp_path / "run/model/README.md").read_text()
    assert "24 rows, 18 of 48 in hard filled (mine)" in card and "hard_1 (negative, text)" in card
    assert "negative_1" not in card
    config["datasets"]["train"]["mine"] = {"max_score": -2}
    with pytest.raises(MmstError, match="left out for lack of 2 negatives"):
        run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet, dry_run=True)
