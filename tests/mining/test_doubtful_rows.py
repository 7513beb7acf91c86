"""`min_positive_score`: rows whose own positive a model finds a poor answer are left out, and told."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from small_job import write_job
from text_job import PAIRS, text_job, text_rows
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.errors import MmstError
from mmst_cli.mining.doubtful_rows import doubtful_in_words
from mmst_cli.training.train import run_training


@pytest.fixture
def pairs(text_pairs):
    """Rows of which numbers 3 and 17 have the positive of another one."""
    rows = text_pairs(40)
    for number in (3, 17):
        rows[number] = {"query": f"something else entirely {number}", "answer": f"kaban {'tus ' * 30}{number}"}
    return [{"id": number, **row} for number, row in enumerate(rows)]


def own_scores(rows, model):
    queries, answers = (
        encode([row[name] for row in rows])
        for encode, name in ((model.encode_query, "query"), (model.encode_document, "answer"))
    )
    return model.similarity_pairwise(queries, answers).numpy()


def test_they_are_left_out_and_stay_documents(pairs, rows_of, mine, text_model):
    scores = own_scores(pairs, text_model)
    least = float(np.sort(scores)[7]) - 1e-4
    found = mine(rows_of(pairs), text_model, num_negatives=2, min_positive_score=least)
    every = mine(rows_of(pairs), text_model, "other", num_negatives=2)
    doubtful = np.flatnonzero(scores < least)
    assert len(doubtful) == 7 and found.doubtful.tolist() == doubtful.tolist()
    assert set(found.kept.tolist()) == set(every.kept.tolist()) - set(doubtful.tolist())
    kept = np.isin(every.kept, found.kept)
    np.testing.assert_array_equal(found.negatives, every.negatives[kept])
    assert np.isin(found.negatives, doubtful).any()


def test_margins_are_counted_from_positives_that_are_kept(pairs, rows_of, mine, text_model):
    """An anchor with a good and a poor positive: the poor one would refuse every document near the good one."""
    pairs.append({"id": len(pairs), "query": pairs[5]["query"], "answer": "tus " * 40})
    scores = own_scores(pairs, text_model)
    settings = {"num_negatives": 1, "range_max": 60, "relative_margin": 0.0}
    without = mine(rows_of(pairs), text_model, **settings)
    found = mine(rows_of(pairs), text_model, "other", min_positive_score=float(scores[-1]) + 1e-4, **settings)
    assert len(pairs) - 1 in found.doubtful and 5 in found.kept
    one = found.scores[found.kept.tolist().index(5)]
    there = without.kept.tolist()
    assert scores[-1] < one[1] <= one[0]
    assert 5 not in there or without.scores[there.index(5)][1] <= scores[-1]


def test_a_sentence_names_some_of_them():
    assert doubtful_in_words([], None, "in x") is None
    one = doubtful_in_words([4], 0.3, "in x")
    assert one == "1 row was left out as doubtful, for the positive scores below 0.3 (min_positive_score): 4."
    many = doubtful_in_words(range(1, 1_013), 0.3, "in facts.json")
    assert many.startswith("1,012 rows were") and many.endswith("9, 10 and 1,002 more, all in facts.json.")


@pytest.fixture
def mmst(tmp_path, monkeypatch, pairs):
    """A function that runs a command on the rows."""
    monkeypatch.chdir(tmp_path)
    Dataset.from_list([{**row, "wrong": pairs[i - 1]["answer"]} for i, row in enumerate(pairs)]).to_parquet(
        "rows.parquet"
    )
    data = ["rows.parquet", "--anchor", "query", "--positive", "answer", "--model", "builtin:tiny-text"]
    return lambda command, *more: CliRunner().invoke(app, [command, *data, "--output", "out.parquet", *more])


@pytest.mark.parametrize("command", ["mine", "score"])
def test_the_commands_say_which(command, mmst, pairs, text_model, tmp_path):
    scores = own_scores(pairs, text_model)
    least = str(float(np.sort(scores)[2]) - 1e-4)
    doubtful = np.flatnonzero(scores < float(least)).tolist()
    more = ["--num-negatives", "1"] if command == "mine" else ["--negative", "wrong"]
    result = mmst(command, *more, "--min-positive-score", least, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["doubtful"] == doubtful and len(doubtful) == 2
    assert "2 rows were left out as doubtful" in " ".join(result.stderr.split())
    assert pq.read_table("out.parquet")["id"].to_pylist() == [i for i in range(len(pairs)) if i not in doubtful]
    written = pq.read_table("out.parquet")["scores" if command == "mine" else "teacher_scores"].to_pylist()
    assert scores[doubtful].max() < np.array(written)[:, 0].min()
    again = mmst(command, *more, "--min-positive-score", least, "--json", "--resume")
    assert json.loads(again.stdout)["doubtful"] == doubtful
    none = mmst(command, *more, "--min-positive-score", "2", "--overwrite")
    assert none.exit_code == 1 and "nothing was written" in none.stderr and "Lower it" in none.stderr


@pytest.mark.parametrize("filled", [False, True])
def test_a_training_run_tells_of_them(filled, tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))
    rows = text_rows(24, **({"hard": [[f"never {i}"] for i in range(24)]} if filled else {}))
    rows[9]["query"] = "zzz qqq zzz qqq " * 8
    columns = {**PAIRS, "hard": {"role": "negative", "take": 1, "fill": "mine"}} if filled else PAIRS
    config = text_job(tmp_path, rows, columns=columns, max_steps=1)
    config["datasets"]["train"]["mine"] = {"num_negatives": 1, "min_positive_score": 0.1}
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.registry import build_builtin

    model = SentenceTransformer(str(build_builtin("builtin:tiny-text")), device="cpu")
    scores = own_scores([{"query": row["query"], "answer": row["doc"]} for row in rows], model)
    config["datasets"]["train"]["mine"]["min_positive_score"] = float(np.sort(scores)[1]) - 1e-4
    run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet)
    number = int(scores.argmin())
    told = f"1 row was left out as doubtful, for the positive scores below {np.sort(scores)[1] - 1e-4:g}"
    card = (tmp_path / "run/model/README.md").read_text()
    assert f"23 rows; {told} (min_positive_score): {number}" in card
    said = " ".join(quiet.console.file.getvalue().split())
    assert said.count(told) == 2  # when it is mined, and at the end
    config["datasets"]["train"]["mine"]["min_positive_score"] = 3.0
    with pytest.raises(MmstError, match=r"datasets.train.mine: .* were left out as doubtful"):
        run_training(load_config(write_job(config, tmp_path / "job.yaml")), terminal=quiet, dry_run=True)
