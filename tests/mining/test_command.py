"""`mmst mine` as a user meets it: mistakes in one line each, and a road from rows to training."""

import json
import shlex

import pytest
import yaml
from datasets import Dataset
from small_job import job, write_job
from typer.testing import CliRunner

from mmst_cli.cli import app


@pytest.fixture
def mmst(tmp_path, monkeypatch):
    """A function that runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def files(tmp_path, text_pairs):
    """Rows of texts, and a config of the small job."""
    Dataset.from_list(text_pairs(30)).to_parquet(str(tmp_path / "rows.parquet"))
    write_job(job(tmp_path), tmp_path / "job.yaml")
    config = job(tmp_path)
    config["datasets"]["more"] = config["datasets"]["train"]
    write_job(config, tmp_path / "two.yaml")
    del config["datasets"]["train"], config["datasets"]["more"]
    write_job(config, tmp_path / "none.yaml")


DATA = ["rows.parquet", "--anchor", "query", "--positive", "answer", "--model", "builtin:tiny-text"]
MISTAKES = {
    "no model": (DATA[:-2], "--model: missing. Name the model to mine in rows.parquet with."),
    "no anchor": ([DATA[0], *DATA[3:]], "--anchor: missing"),
    "one column for both": ([*DATA[:4], "query", *DATA[5:]], "--positive query: that is the column of anchors"),
    "no such column": ([*DATA[:4], "answr", *DATA[5:]], "answr: no such column; the dataset has query, answer. Did"),
    "no such data": (["no.parquet", *DATA[1:]], "no.parquet: no such file"),
    "no such model": ([*DATA[:-1], "./nothing"], "./nothing: no such folder"),
    "overrides without a config": ([*DATA, "training.seed=1"], "only a config is changed by KEY=VALUE"),
    "a dataset without a config": ([*DATA, "--dataset", "train"], "--dataset: only a config has several"),
    "a range that is too short": ([*DATA, "--range-max", "2"], "--range-max: found 2, which leaves 2 documents"),
    "no negatives": ([*DATA, "--num-negatives", "0"], "--num-negatives: found 0; it is 1 or more."),
    "an unknown strategy": ([*DATA, "--sampling-strategy", "tpo"], "there is top, random. Did you mean top?"),
    "an unknown index": ([*DATA, "--index", "annoy"], "--index annoy: there is exact, faiss."),
    "a second model without limits": ([*DATA, "--second-model", "builtin:tiny-text"], "--second-model: it is asked"),
    "a wrong ending": ([*DATA, "--output", "mined.csv"], "Let the name end in .parquet"),
    "both": ([*DATA, "--resume", "--overwrite"], "Choose one"),
    "images of a text model": (
        ["pages.jsonl", "--anchor", "query", "--positive", "image:image", *DATA[5:]],
        "datasets.train.columns.image.modality: image: the model takes text",
    ),
    "several training sets": (["two.yaml"], "--dataset: missing. Of the sets of two.yaml with use: train there are"),
    "no training set": (["none.yaml"], "there is none; name one"),
    "an unknown set": (["job.yaml", "--dataset", "trian"], "--dataset trian: job.yaml has train, eval. Did you mean"),
    "columns beside a config": (["job.yaml", "--anchor", "query"], "--anchor: job.yaml says this itself"),
    "no config there": (["jop.yaml"], "jop.yaml: no such file"),
    "a broken rule of the config": (["job.yaml", "matryoshka_dims=[0]"], "matryoshka_dims: found 0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_exit_code_2_and_one_sentence(case, files, mmst, tmp_path, page_rows):
    page_rows(1)[0][1].save(tmp_path / "a.png")
    (tmp_path / "pages.jsonl").write_text(json.dumps({"query": "q", "image": "a.png"}))
    arguments, words = MISTAKES[case]
    output = [] if "--output" in arguments else ["--output", "mined.parquet"]
    result = mmst("mine", *arguments, *output)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in result.output and not result.stdout
    assert not list(tmp_path.glob("*mined*"))


def test_from_rows_to_negatives_to_training(files, mmst, tmp_path):
    first = mmst("mine", *DATA, "--num-negatives", "2", "--output", "mined.parquet", "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert told["kept"] == told["rows"] and told["left_out"] == 0 and told["output"] == "mined.parquet"
    assert (tmp_path / "mined.html").is_file()
    again = mmst("mine", *DATA, "--num-negatives", "2", "--output", "mined.parquet")
    assert again.exit_code == 2 and "exists" in again.stderr
    section = yaml.safe_load(told["next"])["datasets"]
    config = {
        "model": {"name_or_path": "builtin:tiny-text"},
        "datasets": section,
        "loss": [{"type": "MultipleNegativesRankingLoss"}],
        "training": {"use_cpu": True, "max_steps": 1, "per_device_train_batch_size": 4},
    }
    trained = mmst("train", write_job(config, tmp_path / "train.yaml"), "--json")
    assert trained.exit_code == 0, trained.output


def test_a_config_says_what_and_how(files, mmst, tmp_path):
    arguments = ("job.yaml", "datasets.train.mine={num_negatives: 1}", "--output", "mined/rows.parquet")
    result = mmst("mine", *arguments)
    assert result.exit_code == 0, result.output
    assert "Wrote 96 rows with 1 negative each to mined/rows.parquet" in result.stdout
    command = next(line for line in result.stdout.splitlines() if line.startswith("next: "))
    words = shlex.split(command.removeprefix("next: "))
    assert words[:3] == ["mmst", "train", "job.yaml"]
    assert "datasets.train.mine=null" in words
    trained = mmst(*words[1:], "training.max_steps=1", "--json")
    assert trained.exit_code == 0, trained.output
    same = mmst("mine", *arguments, "--resume", "--num-negatives", "2")
    assert same.exit_code == 2 and "settings.num_negatives 1, and now it is 2" in same.stderr
