"""The reference job, `configs/vdr.yaml`, run as it stands against a stand-in for the Hugging Face hub.

Only what a CPU and a tiny model need is overridden. The hub's address is read when huggingface_hub is imported,
so every command runs in a process of its own, forked from one that knows the stand-in.
"""

import csv
import json
import re
from functools import partial
from pathlib import Path

import pytest
import yaml
from process_pair import ProcessPair
from reference_job import (
    DATASET,
    EVAL_NEGATIVES,
    EVAL_ROWS,
    LARGE_PAGE,
    MODEL,
    MODEL_REVISION,
    TRAIN_ROWS,
    add_reference_job,
)
from stand_in import StandInHub, loopback_environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DIMS = [128, 64, 32]
TINY = [f"matryoshka_dims={DIMS}", "loss.0.args.mini_batch_size=16"]
ON_CPU = ["model.attn_implementation=sdpa", "training.use_cpu=true"]
IN_FLOAT32 = ["model.dtype=float32", "training.bf16=false"]
OVERRIDES = [*TINY, *ON_CPU, *IN_FLOAT32]
BATCH = 64
STEPS = -(-TRAIN_ROWS // BATCH)
MAX_PIXELS = 360_000
EVALUATOR = "vdr-eval-hard"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with StandInHub() as hub:
        add_reference_job(hub, tmp_path_factory.mktemp("repositories"))
        yield hub


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """The file of what was asked for outside of loopback."""
    return tmp_path_factory.mktemp("outside") / "asked.txt"


@pytest.fixture(scope="module")
def commands(hub, outside, tmp_path_factory):
    """Starts commands of an anonymous user of the stand-in hub, who hasn't downloaded anything yet."""
    environment = loopback_environment(hub.address, tmp_path_factory.mktemp("home"))
    without_hub = {name: value for name, value in environment.items() if not name.startswith("TRANSFORMERS_")}
    commands = ProcessPair(without_hub | {"LOOPBACK_LOG": str(outside)})
    yield commands
    commands.close()


@pytest.fixture(scope="module")
def mmst(commands):
    return partial(commands.alone, ROOT)


@pytest.fixture(scope="module")
def trained(mmst, tmp_path_factory):
    """The run folder of configs/vdr.yaml, and what the command said."""
    run = tmp_path_factory.mktemp("runs") / "vdr"
    done = mmst("train", "configs/vdr.yaml", f"output_dir={run}", *OVERRIDES)
    assert done.returncode == 0, done.stderr
    return run, done


@pytest.fixture(scope="module")
def saved(trained):
    run, _ = trained
    return json.loads((run / "eval" / f"{EVALUATOR}.json").read_text())


def metric_lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_it_trains(trained):
    _, done = trained
    assert "Traceback" not in done.stderr
    assert f"({STEPS} steps, " in done.stdout
    assert f"data: train: {TRAIN_ROWS} rows from {DATASET} / train [train]: " in done.stderr
    assert f"data: eval: {EVAL_ROWS} rows from {DATASET} / eval [train]: " in done.stderr


def test_the_run_folder_is_complete(trained):
    run, _ = trained
    names = {path.name for path in run.iterdir()}
    files = {"config.yaml", "overrides.txt", "environment.json", "log.txt", "metrics.jsonl", "report.html"}
    assert files | {"model", "eval"} <= names
    assert not [path for path in run.rglob("*") if ".partial" in path.name]
    results = {path.name for path in (run / "eval").iterdir()}
    endings = (".json", ".csv", ".svg", ".queries.parquet")
    assert results == {f"{EVALUATOR}{when}{end}" for when in ("", ".before") for end in endings}
    assert {"modules.json", "config.json", "README.md"} <= {path.name for path in (run / "model").iterdir()}
    assert (run / "overrides.txt").read_text().splitlines() == [f"output_dir={run}", *OVERRIDES]
    assert (run / "log.txt").read_text().count("step 1/2") == 2  # its losses, and its evaluation


def test_the_resolved_config_differs_from_the_file_only_in_what_was_overridden(trained):
    run, _ = trained
    declared = yaml.safe_load((ROOT / "configs/vdr.yaml").read_text())
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    changed = {"dtype": "float32", "attn_implementation": "sdpa"}
    assert {key: resolved["model"][key] for key in declared["model"]} == declared["model"] | changed
    numbers = {"learning_rate": 2e-5}  # plain YAML takes 2e-5 for a text
    assert resolved["training"] == declared["training"] | numbers | {"bf16": False, "use_cpu": True}
    for name, section in declared["datasets"].items():
        assert resolved["datasets"][name]["path"] == DATASET
        assert resolved["datasets"][name]["name"] == name
        assert list(resolved["datasets"][name]["columns"]) == list(section["columns"])


def test_fractions_of_two_steps_are_every_step(trained):
    """0.1 and 0.05 of two steps are rounded up to one: each step is logged, evaluated and saved."""
    run, _ = trained
    assert {path.name for path in run.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    lines = metric_lines(run)
    score = f"eval_{EVALUATOR}_cosine_ndcg@10"
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert [line["step"] for line in lines if score in line] == [0, 1, 2]


def test_what_was_measured(trained, saved):
    run, _ = trained
    before = json.loads((run / "eval" / f"{EVALUATOR}.before.json").read_text())
    for result in (before, saved):
        assert (result["queries"], result["corpus"]) == (EVAL_ROWS, EVAL_ROWS * (1 + EVAL_NEGATIVES))
        assert result["primary_metric"] == "ndcg@10"
        assert [cell["dim"] for cell in result["cells"]] == DIMS
        assert [cell["bytes_per_vector"] for cell in result["cells"]] == [4 * dim for dim in DIMS]
        assert all(0 <= value <= 1 for cell in result["cells"] for value in cell["metrics"].values())
    assert before["model"] == MODEL
    with (run / "eval" / f"{EVALUATOR}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["dim"]) for row in rows] == DIMS
    assert [float(row["ndcg@10"]) for row in rows] == [cell["metrics"]["ndcg@10"] for cell in saved["cells"]]
    key = f"eval_{EVALUATOR}_cosine_ndcg@10"
    last = [line for line in metric_lines(run) if key in line][-1]
    assert last[key] == saved["cells"][0]["metrics"]["ndcg@10"]


def test_only_declared_columns_are_used(trained):
    _, done = trained
    rows = [line for line in done.stderr.splitlines() if line.startswith("data: ")]
    negatives = [f"negative_{number} (negative, image)" for number in range(EVAL_NEGATIVES)]
    columns = ["query (anchor, text)", "image (positive, image)"]
    assert [line.split("[train]: ")[1] for line in rows] == [
        ", ".join([*columns, negatives[0]]),
        ", ".join([*columns, *negatives]),
    ]


def test_eval_finds_what_training_saved(trained, saved, mmst):
    run, _ = trained
    done = mmst("eval", run, "--json")
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert list(again) == [EVALUATOR]
    for cell in [*again[EVALUATOR]["cells"], *saved["cells"]]:
        assert cell.pop("search_ms") > 0  # all but the clock
    assert again[EVALUATOR] == saved


LOAD_PLAINLY = """
import json, sys
from PIL import Image
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
features = model.preprocess([Image.new("RGB", tuple(json.loads(sys.argv[2])))])
vectors = model.encode(["a page", Image.new("RGB", (96, 128))])
print(json.dumps({"shape": vectors.shape, "grid": features["image_grid_thw"][0].tolist(),
                  "squares": (vectors ** 2).sum(1).tolist()}))
"""


def test_the_model_loads_plainly_and_keeps_its_pixel_bound(trained, mmst, hub):
    run, _ = trained
    before = len(hub.requests)
    done = mmst(run / "model", json.dumps(LARGE_PAGE), code=LOAD_PLAINLY)
    assert done.returncode == 0, done.stderr
    assert len(hub.requests) == before
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["shape"] == [2, DIMS[0]]
    assert facts["squares"] == pytest.approx([1, 1])
    frames, high, wide = facts["grid"]
    assert frames == 1
    assert 0.9 * MAX_PIXELS < high * wide * 16 * 16 <= MAX_PIXELS < LARGE_PAGE[0] * LARGE_PAGE[1]


def test_float32_weights_run_under_bfloat16_autocast(mmst, tmp_path):
    run = tmp_path / "run"
    done = mmst("train", "configs/vdr-fp32.yaml", "--dry-run", f"output_dir={run}", *TINY, *ON_CPU)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"one batch of {BATCH} gives a loss of \d+\.\d+", done.stdout)
    assert "parameters in float32 on cpu" in done.stderr
    assert "half precision" not in done.stderr
    assert not run.exists()


def test_an_adapter_knows_the_revision_of_its_base_and_is_loaded_over_it(mmst, hub, tmp_path):
    """The main branch holds no model, so that plain sentence-transformers can't load it."""
    run, small = tmp_path / "run", ["training.max_steps=1", "training.eval_strategy='no'", "datasets.train.max_rows=16"]
    trained = mmst("train", "configs/vdr-lora.yaml", f"output_dir={run}", *OVERRIDES, *small, "model.dtype=bfloat16")
    encoded = mmst("encode", f"{run}/adapter", "docs/example-pages", "--output", f"{tmp_path}/vectors")
    seen = mmst("inspect-modalities", f"{run}/adapter", "--json")
    assert [one.returncode for one in (trained, encoded, seen)] == [0, 0, 0], (trained, encoded, seen)
    assert "half precision" not in trained.stderr and "adapter: LoRA of rank 32 on 12 layers" in trained.stderr
    settings = json.loads((run / "adapter/adapter_config.json").read_text())
    commit = hub.repositories["models", MODEL][MODEL_REVISION].commit
    assert (settings["base_model_name_or_path"], settings["revision"]) == (MODEL, commit)
    assert f"It needs `{MODEL}` at revision `{MODEL_REVISION}`" in (run / "adapter/README.md").read_text()
    assert json.loads(seen.stdout)["dimension"] == DIMS[0]


MISTAKES = {
    "model.name_or_path=Qwen/nope": ("model.name_or_path", "Qwen/nope"),
    "model.revision=refs/pr/99": ("model.revision", "refs/pr/99"),
    "model.revision=null": ("model.name_or_path", MODEL),  # main holds no model
    "datasets.train.path=tomaarsen/nope": ("datasets.train.path", "tomaarsen/nope"),
    "datasets.eval.path=tomaarsen/nope": ("datasets.eval.path", "tomaarsen/nope"),
    "datasets.train.revision=nope": ("datasets.train.revision", "nope"),
    "datasets.train.name=trian": ("datasets.train.name", "trian", "train, eval", "Did you mean train?"),
    "datasets.train.name=null": ("datasets.train.name", "train, eval"),
    "datasets.train.split=test": ("datasets.train.split", "test", "train"),
    "datasets.train.columns.imge={role: negative, modality: image}": (
        "datasets.train.columns.imge",
        "Did you mean image?",
    ),
}


@pytest.mark.parametrize("override", MISTAKES)
def test_what_is_not_on_the_hub_is_named(mmst, tmp_path, override):
    run = tmp_path / "run"
    done = mmst("train", "configs/vdr.yaml", f"output_dir={run}", *OVERRIDES, override)
    key, *words = MISTAKES[override]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    assert errors[0].startswith(f"error: {key}: "), errors[0]
    assert "Client Error" not in errors[0]  # what the hub's protocol says is no help
    assert all(word in errors[0] for word in words), errors[0]
    assert done.stdout == ""
    assert not run.exists()


def test_the_hub_was_asked_for_the_declared_revision(trained, hub):
    assert f"/api/models/{MODEL}/revision/{MODEL_REVISION}" in hub.asked()
    snapshots = hub.repositories["models", MODEL]
    declared, main = snapshots[MODEL_REVISION], snapshots["main"]
    assert hub.asked(f"/{MODEL}/resolve/{declared.commit}/model.safetensors")
    assert hub.asked(f"/large-files/{declared.files['model.safetensors'].sha256}")
    assert not hub.asked(f"/{MODEL}/resolve/{main.commit}/model.safetensors")


def test_the_hub_was_asked_for_both_configurations(trained, hub):
    snapshot = hub.repositories["datasets", DATASET]["main"]
    for name in ("train", "eval"):
        path = f"{name}/train-00000-of-00001.parquet"
        assert hub.asked(f"/datasets/{DATASET}/resolve/{snapshot.commit}/{path}")
        assert hub.asked(f"/large-files/{snapshot.files[path].sha256}")


def test_files_are_downloaded_once(trained, hub):
    downloads = [r.path for r in hub.requests if r.method == "GET" and r.path.startswith("/large-files/")]
    assert len(downloads) == len(set(downloads)) == 3  # two tables and the weights, whatever ran since


def test_nobody_showed_a_token(trained, hub):
    assert {request.authorization for request in hub.requests} == {None}


def test_nothing_was_asked_for_outside_of_loopback(trained, hub, outside):
    """Neither for the addresses that stand in the queries and in a dropped column."""
    assert not outside.exists(), outside.read_text()
    assert {request.host.split(":")[0] for request in hub.requests} == {
        "127.0.0.1",
        "localhost",
        "datasets-server.127.0.0.1",
    }
    assert not hub.asked("pages.invalid")


def test_the_watch_notices_other_places(mmst, tmp_path):
    reach = "import socket; socket.create_connection(('pages.invalid', 80))"
    done = mmst(code=reach, LOOPBACK_LOG=str(tmp_path / "asked.txt"))
    assert "pages.invalid is not on loopback" in done.stderr
    assert (tmp_path / "asked.txt").read_text() == "socket.getaddrinfo pages.invalid\n"
