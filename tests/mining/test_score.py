"""`mmst score`: a teacher's scores beside rows that have negatives."""

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from small_job import write_job
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.config.schema import MineConfig
from mmst_cli.errors import ConfigError, DataError, ModelError, RunError, WorkError
from mmst_cli.mining import row_scores
from mmst_cli.mining.score import ScoringOptions, run_scoring

QUERY, ANSWER = {"role": "anchor"}, {"role": "positive"}
COLUMNS = {"query": QUERY, "answer": ANSWER, "wrong": {"role": "negative"}, "other": {"role": "negative"}}


@pytest.fixture
def rows(text_pairs):
    pairs = text_pairs(30)
    return [
        {"id": i, **pair, "wrong": pairs[i - 1]["answer"], "other": pairs[i - 2]["answer"]}
        for i, pair in enumerate(pairs)
    ]


@pytest.fixture
def config_of(tmp_path):
    """A function giving a config of one training set, its rows written."""

    def make(rows, columns=COLUMNS, features=None, model="builtin:tiny-text", **section):
        Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
        tree = {
            "model": {"name_or_path": model},
            "datasets": {
                "train": {"use": "train", "path": str(tmp_path / "rows.parquet"), "columns": columns, **section}
            },
            "training": {"use_cpu": True},
        }
        return load_config(write_job(tree, tmp_path / "job.yaml"))

    return make


@pytest.fixture
def score(tmp_path, quiet):
    """A function that scores by a config."""

    def run(config, teacher="builtin:tiny-text", output=None, **options):
        asked = ScoringOptions(
            "train", MineConfig(model=str(teacher)), output or tmp_path / "scored.parquet", **options
        )
        return run_scoring(config, asked, quiet)

    return run


def scores_in(path, column="teacher_scores"):
    return np.array(pq.read_table(path)[column].to_pylist(), dtype=np.float32)


def test_an_embedding_teacher_gives_its_similarity(rows, config_of, score, text_model):
    result = score(config_of(rows))
    written = pq.read_table(result.output)
    assert written.column_names == ["id", "query", "answer", "wrong", "other", "teacher_scores"]
    assert written.drop_columns("teacher_scores").to_pylist() == rows
    queries = text_model.encode_query([row["query"] for row in rows])
    for number, name in enumerate(("answer", "wrong", "other")):
        documents = text_model.encode_document([row[name] for row in rows])
        expected = text_model.similarity_pairwise(queries, documents).numpy()
        np.testing.assert_allclose(scores_in(result.output)[:, number], expected, atol=1e-5)
    assert (result.facts.rows, result.facts.negatives) == (len(rows), 2)
    found = scores_in(result.output)
    assert result.facts.inverted == int((found[:, 1:].max(axis=1) >= found[:, 0]).sum())


def test_the_similarity_is_that_of_the_teacher(rows, config_of, score, text_model, tmp_path):
    text_model.save_pretrained(str(tmp_path / "teacher"))
    path = tmp_path / "teacher" / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "similarity_fn_name": "manhattan"}))
    found = scores_in(score(config_of(rows), tmp_path / "teacher").output)
    assert found.max() < 0  # it is no product of vectors of length 1


def test_each_text_is_embedded_once(rows, config_of, score, monkeypatch):
    taken = []
    encode = row_scores.Embedder.encode

    def counted(self, pipeline, inputs, *arguments, **keywords):
        return encode(self, pipeline, (taken.append(one) or one for one in inputs), *arguments, **keywords)

    monkeypatch.setattr(row_scores.Embedder, "encode", counted)
    score(config_of(rows), rows_per_part=7)
    distinct = {row["query"] for row in rows}, {row["answer"] for row in rows}
    assert len(taken) == sum(map(len, distinct))


def test_a_cross_encoder_gives_its_predictions(rows, config_of, score, cross_encoder):
    from sentence_transformers import CrossEncoder

    result = score(config_of(rows), cross_encoder, rows_per_part=7)
    pairs = [(row["query"], row[name]) for row in rows for name in ("answer", "wrong", "other")]
    expected = CrossEncoder(str(cross_encoder), device="cpu").predict(pairs).reshape(-1, 3)
    np.testing.assert_allclose(scores_in(result.output), expected, atol=1e-5)


def test_the_logits_of_a_cross_encoder(rows, config_of, score, cross_encoder):
    from sentence_transformers import CrossEncoder
    from torch import nn

    result = score(config_of(rows), cross_encoder, logits=True)
    pairs = [(row["query"], row[name]) for row in rows for name in ("answer", "wrong", "other")]
    reranker = CrossEncoder(str(cross_encoder), device="cpu")
    logits = reranker.predict(pairs, activation_fn=nn.Identity()).reshape(-1, 3)
    np.testing.assert_allclose(scores_in(result.output), logits, atol=1e-5)
    assert not np.allclose(logits, reranker.predict(pairs).reshape(-1, 3), atol=0.01)
    with pytest.raises(RunError, match="begun with logits true"):
        score(config_of(rows), cross_encoder, resume=True)
    with pytest.raises(ConfigError, match="--logits: builtin:tiny-text is an embedding model"):
        score(config_of(rows), logits=True, overwrite=True)


def test_lists_of_negatives_are_scored_as_far_as_they_are_taken(rows, config_of, score):
    lists = [
        {"query": r["query"], "answer": r["answer"], "hard": [r["wrong"], r["other"]] + ["more"] * (i % 2)}
        for i, r in enumerate(rows)
    ]
    columns = {"query": QUERY, "answer": ANSWER, "hard": {"role": "negative"}}
    with pytest.raises(DataError, match=r"row 0, column hard: a list of 2 negatives, and others have 3"):
        score(config_of(lists, columns))
    result = score(config_of(lists, {**columns, "hard": {"role": "negative", "take": 2}}))
    plain = score(config_of(rows), output=result.output.with_name("plain.parquet"))
    np.testing.assert_array_equal(scores_in(result.output), scores_in(plain.output))
    assert yaml.safe_load(result.next_step)["datasets"]["train"]["columns"]["hard"] == {"role": "negative", "take": 2}


def test_rows_without_negatives(rows, config_of, score, tmp_path):
    rows[4] = {**rows[4], "other": None}
    with pytest.raises(DataError, match="row 4, column other"):
        score(config_of(rows))
    assert not (tmp_path / "scored.parquet").exists()
    result = score(config_of(rows, on_bad_row="skip"))
    assert [row["id"] for row in pq.read_table(result.output).to_pylist()] == [r["id"] for r in rows if r["id"] != 4]
    with pytest.raises(DataError, match="others have 2"):
        lists = [{"query": r["query"], "answer": r["answer"], "hard": [r["wrong"]] * 2} for r in rows]
        lists[2]["hard"] = []
        score(config_of(lists, {"query": QUERY, "answer": ANSWER, "hard": {"role": "negative"}}), overwrite=True)


def test_several_positives_a_row_have_no_place_for_scores(rows, config_of, score):
    lists = [{**row, "answer": [row["answer"], f"{row['answer']} again"]} for row in rows]
    with pytest.raises(DataError, match="answer: a cell is several positives"):
        score(config_of(lists))


def test_a_teacher_that_takes_something_else(page_rows, encoded, rows, config_of, score, cross_encoder):
    pages = [{"query": q, "page": {"bytes": encoded(p), "path": None}, "no": "x"} for q, p in page_rows(4)]
    features = Features({"query": Value("string"), "page": ImageFeature(), "no": Value("string")})
    columns = {"query": QUERY, "page": {"role": "positive", "modality": "image"}, "no": {"role": "negative"}}
    config = config_of(pages, columns, features, "builtin:tiny-qwen3-vl")
    with pytest.raises(ModelError, match=r"--model: .* is a CrossEncoder of text, and column page holds image"):
        score(config, cross_encoder)
    with pytest.raises(ModelError, match="the model takes text"):
        score(config)


def test_a_teacher_without_a_finite_score(rows, config_of, score, make_cross_encoder, tmp_path):
    with pytest.raises(WorkError, match=r"datasets.train, row 0, column answer: .* a score that is not finite"):
        score(config_of(rows), make_cross_encoder(broken=True))
    assert not (tmp_path / "scored.parquet").exists()


def test_memory_that_is_too_small_is_told(rows, config_of, score, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr("mmst_cli.mining.score.score_rows", fail)
    with pytest.raises(WorkError, match=r"^out of memory: no room\. Lower --batch-size, now 32"):
        score(config_of(rows))


def test_pages_stay_where_they_are(page_rows, encoded, config_of, score, tmp_path):
    pages = page_rows(5)
    for number, (_, page) in enumerate(pages):
        page.save(tmp_path / f"{number}.png")
    rows = [
        {"query": q, "page": f"{n}.png", "wrong": {"bytes": encoded(pages[n - 1][1]), "path": None}}
        for n, (q, _) in enumerate(pages)
    ]
    features = Features({"query": Value("string"), "page": Value("string"), "wrong": ImageFeature()})
    image = {"role": "positive", "modality": "image"}
    columns = {"query": QUERY, "page": image, "wrong": {**image, "role": "negative"}}
    config = config_of(rows, columns, features, "builtin:tiny-qwen3-vl")
    result = score(config, "builtin:tiny-qwen3-vl", tmp_path / "elsewhere" / "scored.parquet")
    written = pq.read_table(result.output).to_pylist()
    assert [row["page"] for row in written] == [os.path.join("..", f"{n}.png") for n in range(5)]  # noqa: PTH118
    assert all(row["wrong"]["bytes"].startswith(b"\x89PNG") for row in written)
    assert np.isfinite(scores_in(result.output)).all()


def test_what_is_there_is_kept(rows, config_of, score, quiet, tmp_path):
    config = config_of(rows)
    first = score(config)
    before = first.output.read_bytes()
    with pytest.raises(RunError, match="exists"):
        score(config)
    assert score(config, resume=True).facts == first.facts
    assert "finished already" in quiet.console.file.getvalue()
    with pytest.raises(RunError, match="column"):
        score(config, resume=True, column="teacher")
    assert first.output.read_bytes() == before
    with pytest.raises(ConfigError, match="part of what is scored"):
        score(config, output=tmp_path / "rows.parquet", overwrite=True)


@pytest.mark.parametrize("kind", ["cross", "embedding"])
def test_killed_on_the_way_it_goes_on(kind, rows, config_of, score, cross_encoder, monkeypatch, tmp_path):
    teacher, name = (cross_encoder, "score_pairs") if kind == "cross" else ("builtin:tiny-text", "_similarities")
    config, calls, plain = config_of(rows), [], getattr(row_scores, name)
    whole = score(config, teacher, tmp_path / "whole.parquet", rows_per_part=7).output.read_bytes()

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(row_scores, name, dies)
    with pytest.raises(KeyboardInterrupt):
        score(config, teacher, rows_per_part=7)
    monkeypatch.setattr(row_scores, name, plain)
    assert not (tmp_path / "scored.parquet").exists()
    with pytest.raises(RunError, match="begun and not finished"):
        score(config, teacher, rows_per_part=7)
    taken, plain_input = [], row_scores.input_at
    monkeypatch.setattr(row_scores, "input_at", lambda *a: taken.append(a) or plain_input(*a))
    assert score(config, teacher, rows_per_part=7, resume=True).output.read_bytes() == whole
    assert kind == "embedding" or 0 < len(taken) < 4 * len(rows)
    assert not list(tmp_path.glob(".*work"))


@pytest.fixture
def mmst(tmp_path, monkeypatch, rows):
    """A function that runs a command in a folder with the rows."""
    monkeypatch.chdir(tmp_path)
    Dataset.from_list(rows).to_parquet("rows.parquet")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


DATA = ["rows.parquet", "--anchor", "query", "--positive", "answer", "--model", "builtin:tiny-text"]
MISTAKES = {
    "no teacher": ([*DATA[:-2], "--negative", "wrong"], "--model: missing. Name the teacher"),
    "no negatives": (DATA, "--negative: missing. Name the columns of rows.parquet that hold negatives"),
    "no such column": ([*DATA, "--negative", "wrng"], "wrng: no such column; the dataset has id, query"),
    "the positives": ([*DATA, "--negative", "answer"], "--negative answer: that is the column of anchors or positives"),
    "no such teacher": ([*DATA[:-1], "./nothing", "--negative", "wrong"], "./nothing: no such folder"),
    "a batch of nothing": ([*DATA, "--negative", "wrong", "--batch-size", "0"], "--batch-size: found 0"),
    "a column that is there": ([*DATA, "--negative", "wrong", "--column", "id"], "--column: the data have a column id"),
    "no list": ([*DATA, "--negative", "wrong", "--take", "2"], "the cells are no lists"),
    "a config without negatives": (["job.yaml", "--model", "builtin:tiny-text"], "no column has the role negative"),
    "filled up": (
        ["job.yaml", "datasets.train.columns.hard={role: negative, take: 2, fill: sample}", *DATA[-2:]],
        "datasets.train.columns.hard.fill: what is filled in is no part of the table",
    ),
    "options beside a config": (["job.yaml", *DATA[-2:], "--negative", "wrong"], "--negative: job.yaml says this"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_exit_code_2_and_one_sentence(case, mmst, tmp_path):
    columns = {"query": QUERY, "answer": ANSWER}
    section = {"use": "train", "path": "rows.parquet", "columns": columns}
    write_job({"model": {"name_or_path": "builtin:tiny-text"}, "datasets": {"train": section}}, tmp_path / "job.yaml")
    arguments, words = MISTAKES[case]
    result = mmst("score", *arguments, "--output", "scored.parquet")
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in result.output and not result.stdout
    assert not list(tmp_path.glob("*scored*"))


def test_from_mined_negatives_to_a_teacher_to_a_student(mmst, tmp_path, cross_encoder):
    mined = mmst("mine", *DATA, "--num-negatives", "2", "--output", "mined.parquet")
    assert mined.exit_code == 0, mined.output
    assert "# scores: {role: label}   # with DistillKLDivLoss or MarginMSELoss" in mined.stdout
    negatives = ["--negative", "negative_1", "--negative", "negative_2"]
    data = ["mined.parquet", *DATA[1:5], *negatives, "--model", cross_encoder]
    scored = mmst("score", *data, "--output", "scored.parquet", "--json")
    assert scored.exit_code == 0, scored.output
    told = json.loads(scored.stdout)
    assert told["column"] == "teacher_scores" and told["negatives"] == 2
    section = yaml.safe_load(told["next"])["datasets"]
    assert section["train"]["columns"]["teacher_scores"] == {"role": "label"}
    student = {
        "model": {"name_or_path": "builtin:tiny-text"},
        "datasets": section,
        "loss": [{"type": "DistillKLDivLoss"}],
        "training": {"use_cpu": True, "max_steps": 1, "per_device_train_batch_size": 4},
    }
    trained = mmst("train", write_job(student, tmp_path / "student.yaml"), "--json")
    assert trained.exit_code == 0, trained.output


def test_mining_for_a_loss_of_scores_names_them(mmst, tmp_path):
    section = {"use": "train", "path": "rows.parquet", "columns": {"query": QUERY, "answer": ANSWER}}
    job = {"model": {"name_or_path": "builtin:tiny-text"}, "datasets": {"train": section}}
    job["loss"] = [{"type": "MarginMSELoss"}]
    write_job(job, tmp_path / "job.yaml")
    mined = mmst("mine", "job.yaml", "--num-negatives", "2", "--output", "mined.parquet")
    assert mined.exit_code == 0, mined.output
    assert "'datasets.train.columns.scores={role: label}'" in mined.stdout


def test_the_documentation_shows_the_columns_that_score_ends_with(mmst, cross_encoder, rows):
    """From `mmst mine` and `mmst score` to the config of the student, as docs/losses.md has it."""
    page = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
    section = page.split("### From `mmst mine` and `mmst score` to the trained student")[1]
    for name, model in {"strong-model": "builtin:tiny-text", "small-model": "builtin:tiny-text"}.items():
        section = section.replace(f"some/{name}", model)
    section = section.replace("some/reranker", str(cross_encoder))
    commands, student = (section.split(f"```{kind}\n")[1].split("```")[0] for kind in ("bash", "yaml"))
    Dataset.from_list([{"question": row["query"], "answer": row["answer"]} for row in rows]).to_parquet("pages.parquet")
    run = [shlex.split(line) for line in commands.replace("\\\n", " ").splitlines()]
    assert [words[1] for words in run] == ["mine", "score", "train"]
    for words in run[:2]:
        done = mmst(*words[1:], "--json")
        assert done.exit_code == 0, done.output
    declared = yaml.safe_load(student)["datasets"]
    assert yaml.safe_load(json.loads(done.stdout)["next"])["datasets"] == declared
