"""The command line as a user meets it: mistakes in one line each, exit codes, and a quick start."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest
from datasets import Dataset, Features, Image, Value
from media_samples import write_pdf
from small_job import job, write_job
from typer.testing import CliRunner

from mmst_cli.builtin.pages import generate_rows
from mmst_cli.cli import app


@pytest.fixture
def mmst(tmp_path, monkeypatch):
    """A function that runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The small job's data, written once."""
    folder = tmp_path_factory.mktemp("data")
    job(folder)
    return folder


def without(*keys):
    def change(config):
        node = config
        for key in keys[:-1]:
            node = node[key]
        del node[keys[-1]]

    return change


def put(value, *keys):
    def change(config):
        node = config
        for key in keys[:-1]:
            node = node[key]
        node[keys[-1]] = value

    return change


QUERY, IMAGE = ("datasets", "train", "columns", "query"), ("datasets", "train", "columns", "image")
BAD_CONFIGS = {
    "unknown key at the top": (put(1, "modle"), "modle: unknown key. Did you mean model?"),
    "unknown key of the model": (put("x", "model", "revison"), "model.revison: unknown key. Did you mean revision?"),
    "unknown key of a dataset": (put(1, "datasets", "train", "pth"), "datasets.train.pth: unknown key"),
    "unknown key of a column": (put(1, *QUERY, "rol"), "datasets.train.columns.query.rol: unknown key"),
    "unknown key of a loss": (put({}, "loss", 0, "arg"), "loss.0.arg: unknown key. Did you mean args?"),
    "unknown key of an evaluator": (put([], "evaluators", "pages", "dim"), "evaluators.pages.dim: unknown key"),
    "unknown training argument": (put(1, "training", "learning_rat"), "training.learning_rat"),
    "wrong type": (put("many", "matryoshka_dims"), "matryoshka_dims: found"),
    "wrong type of a training argument": (put("fast", "training", "learning_rate"), "training.learning_rate"),
    "missing field": (without("datasets", "train", "path"), "datasets.train.path: missing"),
    "unknown loss": (put("MatrioshkaLoss", "loss", 1, "type"), "Did you mean MatryoshkaLoss?"),
    "unknown evaluator": (put("RetrievalEvaluator", "evaluators", "pages", "type"), "evaluators.pages.type"),
    "an argument its loss doesn't have": (
        put({"mini_batch": 1}, "loss", 0, "args"),
        "loss.0.args.mini_batch: CachedMultipleNegativesRankingLoss has no such argument",
    ),
    "a dimension above the model's": (
        put([4096, 8], "evaluators", "pages", "dims"),
        "evaluators.pages.dims: 4096: the model's embeddings have 128 dimensions",
    ),
    "a column that isn't there": (
        put({"role": "positive", "modality": "image"}, "datasets", "train", "columns", "imge"),
        "datasets.train.columns.imge: no such column; the dataset has query, image. Did you mean image?",
    ),
    "no anchor": (put("positive", *QUERY, "role"), "anchor"),
    "no positive": (put("negative", *IMAGE, "role"), "positive"),
    "roles the loss can't use": (put({"type": "CosineSimilarityLoss"}, "loss", 0), "label"),
    "a model that isn't there": (put("./no/such/model", "model", "name_or_path"), "./no/such/model: no such folder"),
    "a dataset that isn't there": (
        put("no/such/rows.parquet", "datasets", "train", "path"),
        "datasets.train.path: no/such/rows.parquet: no such file",
    ),
    "images declared audio": (
        put("audio", *IMAGE, "modality"),
        "datasets.train.columns.image: declared audio, but the column holds Image",
    ),
    "sounds for a model without them": (
        lambda config: config["datasets"]["train"].update(
            path="builtin:sounds",
            columns={"query": {"role": "anchor"}, "sound": {"role": "positive", "modality": "audio"}},
        ),
        "datasets.train.columns.sound.modality: audio: the model takes text, image, video",
    ),
    "flash attention without the package": (
        put("flash_attention_2", "model", "attn_implementation"),
        "model.attn_implementation: flash_attention_2 can't be used",
    ),
    "bf16 the device can't do": (
        lambda config: config["training"].update(bf16=True, use_cpu=False),
        "training.bf16: true, but",
    ),
    "bf16 and fp16": (lambda config: config["training"].update(bf16=True, fp16=True), "fp16"),
    "a best-model metric nobody writes": (
        lambda config: config["training"].update(
            load_best_model_at_end=True,
            metric_for_best_model="eval_vdr_cosine_ndcg@10",
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=2,
        ),
        "eval_pages_cosine_ndcg@10",
    ),
    "a value the trainer refuses": (put("soon", "training", "save_strategy"), "training.save_strategy"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_mistake_gets_exit_code_2_one_sentence_and_no_run_folder(case, data, mmst, tmp_path):
    if case == "bf16 the device can't do":
        import torch

        if torch.cuda.is_available():
            pytest.skip("this device can")
    change, words = BAD_CONFIGS[case]
    config = job(data)
    config["output_dir"] = str(tmp_path / "run")
    change(config)
    result = mmst("train", write_job(config, tmp_path / "job.yaml"))
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "Traceback" not in result.output and not result.stdout
    assert not (tmp_path / "run").exists()


def test_all_faults_are_told_together(data, mmst, tmp_path):
    config = job(data)
    config["modle"] = 1
    config["training"]["learning_rat"] = 1
    config["loss"][0]["type"] = "Nothing"
    result = mmst("train", write_job(config, tmp_path / "job.yaml"), "evaluators.pages.dataset=evl")
    assert result.exit_code == 2
    told = result.stderr
    assert all(key in told for key in ("modle", "training.learning_rat", "loss.0.type", "evaluators.pages.dataset"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("model: [", "line 2, column 1: this is not YAML"),
        ("- a\n- b", "a list"),
        ("", "missing"),
    ],
)
def test_a_file_that_is_no_config(text, words, mmst, tmp_path):
    if text is not None:
        (tmp_path / "job.yaml").write_text(text)
    result = mmst("train", "job.yaml")
    assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.output


def test_a_truncated_image_is_named_by_its_row(data, mmst, tmp_path):
    rows = list(generate_rows("train", 60))
    rows[17]["image"]["bytes"] = rows[17]["image"]["bytes"][:400]
    features = Features({"query": Value("string"), "image": Image()})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "rows.parquet"))
    config = job(data)
    config["output_dir"] = str(tmp_path / "run")
    result = mmst("train", write_job(config, tmp_path / "job.yaml"), "datasets.train.path=rows.parquet")
    assert result.exit_code == 2
    assert "datasets.train, row 17, column image: the image can't be read" in result.stderr
    assert not (tmp_path / "run").exists()


def test_an_image_file_that_isnt_there_is_no_text(data, mmst, tmp_path):
    lines = [{"query": f"q{i}", "image": "a.png"} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = job(data)
    config["output_dir"] = str(tmp_path / "run")
    result = mmst("train", write_job(config, tmp_path / "job.yaml"), "datasets.train.path=rows.jsonl")
    assert result.exit_code == 2
    assert "datasets.train, row 0, column image: no such image file" in result.stderr
    assert not (tmp_path / "run").exists()


def test_the_road_from_one_file_to_vectors(data, mmst, tmp_path):
    config = job(data)
    config["output_dir"] = str(tmp_path / "runs" / "small")
    path = write_job(config, tmp_path / "job.yaml")
    trained = mmst("train", path, "training.max_steps=2", "--json")
    assert trained.exit_code == 0, trained.output
    told = json.loads(trained.stdout)
    assert told["steps"] == 2 and [row["dim"] for row in told["evaluators"]["pages"]] == [128, 32, 8]
    assert told["next"].startswith("mmst encode")
    again = mmst("train", path)
    assert again.exit_code == 2 and "already holds a run" in again.stderr
    newest = mmst("eval", "--dims", "128,8", "--json", "--output", "scores")
    assert newest.exit_code == 0, newest.output
    cells = json.loads(newest.stdout)["pages"]["cells"]
    assert [cell["dim"] for cell in cells] == [128, 8]
    assert cells[0]["metrics"]["ndcg@10"] == told["evaluators"]["pages"][0]["after"]
    assert (tmp_path / "scores" / "pages.csv").is_file()
    assert mmst("eval", "--output", "scores").exit_code == 2
    model = mmst("eval", tmp_path / "runs/small/model", "--config", path, "--json")
    assert json.loads(model.stdout)["pages"]["cells"][0] | {"search_ms": 0} == cells[0] | {"search_ms": 0}
    untrained = mmst("eval", path, "--json")
    assert json.loads(untrained.stdout)["pages"]["cells"][0]["metrics"]["ndcg@10"] == pytest.approx(
        told["evaluators"]["pages"][0]["before"]
    )
    (tmp_path / "queries.txt").write_text("a page with a red header\n")
    encoded = mmst("encode", "runs/small", "queries.txt", "--output", "vectors", "--dim", "8", "--json")
    assert encoded.exit_code == 0, encoded.output
    assert json.loads(encoded.stdout)["dimension"] == 8
    facts = mmst("inspect-modalities", "runs/small", "--json")
    assert facts.exit_code == 0 and json.loads(facts.stdout)["dimension"] == 128


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval", "some/model"], "--config"),
        (["eval"], "no finished run under runs/"),
        (["eval", "--dims", "12,x"], "--dims: 12,x"),
        (["encode", "builtin:tiny-qwen3-vl", "nothing.png", "--output", "v"], "nothing.png"),
        (["encode", "builtin:tiny-qwen", "-", "--output", "v"], "builtin:tiny-qwen3-vl"),
        (["inspect-modalities", "./nothing"], "./nothing: no such folder"),
    ],
)
def test_mistakes_of_the_other_commands(arguments, words, mmst):
    result = mmst(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr and "Traceback" not in result.output


def test_a_file_that_cant_be_read_makes_the_exit_code_1(mmst, tmp_path):
    (tmp_path / "pages").mkdir()
    rows = list(generate_rows("eval", 3))
    for index, row in enumerate(rows):
        content = row["image"]["bytes"]
        (tmp_path / "pages" / f"{index}.png").write_bytes(content if index else content[:300])
    result = mmst("encode", "builtin:tiny-qwen3-vl", "pages", "--output", "vectors")
    assert result.exit_code == 1, result.output
    assert "0.png" in (tmp_path / "vectors" / "_errors.jsonl").read_text()
    assert json.loads((tmp_path / "vectors" / "_manifest.json").read_text())["count"] == 2


def test_how_media_are_read_is_an_option_of_encode(mmst, tmp_path):
    pytest.importorskip("pypdfium2")
    write_pdf(tmp_path / "manual.pdf", 3)
    named = ["--dpi", "36", "--max-seconds", "2", "--fps", "4", "--max-frames", "8", "--max-pixels", "4096"]
    result = mmst("encode", "builtin:tiny-qwen3-vl", "manual.pdf", "--output", "vectors", "--pages", "1,3", *named)
    assert result.exit_code == 0, result.output
    job = json.loads((tmp_path / "vectors" / "_job.json").read_text())
    assert job["media"] == {"max_seconds": 2.0, "fps": 4.0, "max_frames": 8, "max_pixels": 4096, "dpi": 36}
    assert job["pages"] == [1, 3]
    assert json.loads((tmp_path / "vectors" / "_manifest.json").read_text())["count"] == 2
    refused = mmst("encode", "builtin:tiny-qwen3-vl", "manual.pdf", "--output", "v", "--pages", "last", "--dpi", "5")
    assert refused.exit_code == 2 and "error: --dpi: found 5" in refused.stderr
    assert not (tmp_path / "v").exists()


def test_help_and_version(mmst):
    for command in ("train", "eval", "encode", "inspect-modalities"):
        assert command in mmst("--help").stdout
        assert "Example: mmst" in mmst(command, "--help").stdout
    listed = mmst("--help").stdout.partition("Commands:")[2]
    assert "train" in listed and "..." not in listed  # each in a whole sentence
    assert mmst("--version").stdout.strip() == f"mmst {metadata.version('mmst-cli')}"


@pytest.mark.parametrize("columns", ["80", "160"])
def test_help_fits_the_width(columns):
    environment = {**os.environ, "COLUMNS": columns, "TERMINAL_WIDTH": columns}
    for command in ([], ["train"], ["eval"], ["encode"], ["inspect-modalities"]):
        shown = subprocess.run(
            [sys.executable, "-m", "mmst_cli", *command, "--help"], capture_output=True, text=True, env=environment
        )
        assert max(map(len, shown.stdout.splitlines())) <= int(columns)
