"""`mmst eval` with everything it can be asked for, on a small finished run."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sentence_transformers.util import quantize_embeddings
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.encoding.encode import run_encode
from mmst_cli.errors import ConfigError, MmstError, RunError
from mmst_cli.evaluation.evaluate import run_evaluation
from mmst_cli.evaluation.evaluation_request import EvaluationOptions, find_config, report_path, with_grid
from mmst_cli.evaluation.evaluation_results import load_evaluation
from mmst_cli.training.train import run_training
from mmst_cli.vectors.ranges import load_ranges

PRECISIONS = ("float32", "float16", "int8", "binary", "binary-rescored")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = job(folder, max_steps=6)
    run_training(load_config(write_job(config, folder / "job.yaml")))
    return folder


@pytest.fixture
def config(folder):
    return find_config(str(folder / "run"), None, [])


def found(outcome):
    return outcome.evaluations["pages"].result


def test_the_grid_has_every_cell_and_the_full_one_first(config, quiet):
    result = found(run_evaluation(config, EvaluationOptions(dims=(8, 128), precisions=PRECISIONS[1:]), quiet))
    keys = [(cell.dim, cell.precision) for cell in result.cells]
    assert keys[0] == (128, "float32")
    assert set(keys[1:]) == {(dim, precision) for dim in (128, 8) for precision in PRECISIONS[1:]}
    assert {cell.key: cell.bytes_per_vector for cell in result.cells if cell.dim == 128} == {
        "128 float32": 512,
        "128 float16": 256,
        "128 int8": 128,
        "128 binary": 16,
        "128 binary-rescored": 16,
    }
    assert all(cell.search_ms > 0 and cell.interval[0] <= result.primary(cell) for cell in result.cells)
    assert result.recommendation["sentence"] in quiet.shown.getvalue().replace("\n", " ") or result.recommendation


def test_everything_is_encoded_once_whatever_the_grid(config, quiet, monkeypatch):
    from sentence_transformers import SentenceTransformer

    counts = []
    original = SentenceTransformer.preprocess
    monkeypatch.setattr(
        SentenceTransformer, "preprocess", lambda self, x, *a, **k: counts.append(len(x)) or original(self, x, *a, **k)
    )
    config = config.model_copy(update={"training": {**config.training, "dataloader_num_workers": 0}})
    run_evaluation(config, EvaluationOptions(dims=(128, 32, 8), precisions=PRECISIONS), quiet)
    probes = 2  # images that the pixel bounds are tried on
    assert 24 + 24 <= sum(counts) <= 24 + 24 + probes


def test_results_are_saved_where_asked_and_not_overwritten(config, quiet, tmp_path):
    options = EvaluationOptions(dims=(128, 8), precisions=("float32", "int8"), output=tmp_path / "out")
    result = found(run_evaluation(config, options, quiet))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"pages{suffix}" for suffix in (".json", ".csv", ".queries.parquet", ".ranges.json", ".svg")}
    assert load_evaluation(tmp_path / "out/pages.json").result == result
    with pytest.raises(RunError, match=r"--output: .*exists"):
        run_evaluation(config, options, quiet)


def test_int8_ranges_are_saved_and_encode_finds_them(folder, config, quiet, tmp_path):
    run_evaluation(config, EvaluationOptions(dims=(128, 8), precisions=("float32", "int8")), quiet)
    ranges = load_ranges(folder / "run/eval/pages.ranges.json")
    assert {8, 128} <= set(ranges.by_dim)
    from PIL import Image

    for index in range(3):
        Image.new("RGB", (96, 128), (80 * index, 10, 10)).save(tmp_path / f"{index}.png")
    for precision, dim in (("float32", 8), ("int8", 8)):
        run_encode(
            str(folder / "run"), [str(tmp_path)], tmp_path / precision, dim=dim, precision=precision, terminal=quiet
        )
    whole, stored = (
        np.stack(pq.read_table(tmp_path / name / "part-00000.parquet").column("embedding").to_numpy())
        for name in ("float32", "int8")
    )
    assert np.array_equal(stored, quantize_embeddings(whole, "int8", ranges=ranges.by_dim[8]))


def test_ranges_can_come_from_elsewhere(folder, config, quiet, tmp_path):
    run_encode(str(folder / "run"), [str(folder / "eval.parquet")], tmp_path / "v", columns=["query"], terminal=quiet)
    options = EvaluationOptions(dims=(32,), precisions=("float32", "int8"))
    own = run_evaluation(config, options, quiet).evaluations["pages"].result.cell(32, "int8")
    given = EvaluationOptions(**{**options.__dict__, "calibration": tmp_path / "v/part-00000.parquet"})
    other = run_evaluation(config, given, quiet).evaluations["pages"].result.cell(32, "int8")
    assert other.metrics != own.metrics


def test_run_files_are_saved(config, quiet, tmp_path):
    run_evaluation(config, EvaluationOptions(dims=(128, 8), save_run=tmp_path / "trec"), quiet)
    names = {path.name for path in (tmp_path / "trec").iterdir()}
    assert names == {"pages.128.float32.trec", "pages.8.float32.trec", "pages.qrels"}
    assert len((tmp_path / "trec/pages.128.float32.trec").read_text().splitlines()) == 24 * 24
    with pytest.raises(RunError, match="--save-run"):
        run_evaluation(config, EvaluationOptions(save_run=tmp_path / "trec"), quiet)


@pytest.mark.parametrize("other", ["run", "untrained", "saved"])
def test_a_comparison_with_a_run_a_model_or_a_saved_result(other, folder, config, quiet):
    names = {
        "run": str(folder / "run"),
        "untrained": "builtin:tiny-qwen3-vl",
        "saved": str(folder / "run/eval/pages.before.json"),
    }
    outcome = run_evaluation(config, EvaluationOptions(compare=names[other]), quiet)
    told = outcome.to_dict()["pages"]["comparison"]
    assert [cell["dim"] for cell in told["cells"]] == [128, 32, 8]
    if other == "run":
        assert all(cell["difference"] == 0 and cell["p"] == 1 for cell in told["cells"])
    else:
        before = load_evaluation(folder / "run/eval/pages.before.json").result
        assert [cell["b"] for cell in told["cells"]] == pytest.approx([before.primary(cell) for cell in before.cells])
        assert any(moved["text"] for moved in told["gained"] + told["lost"])


@pytest.mark.parametrize("other", ["gone.json", "./gone", "gone/such-model"])
def test_a_comparison_with_nothing_is_told_before_anything_is_measured(other, config, quiet):
    with pytest.raises(MmstError, match="gone"):
        run_evaluation(config, EvaluationOptions(compare=other), quiet)
    assert "evaluation of" not in quiet.shown.getvalue()


def test_a_report_of_a_run_and_of_a_model(folder, config, quiet, tmp_path):
    before = (folder / "run/report.html").read_text()
    run_evaluation(config, EvaluationOptions(report=report_path(config, tmp_path)), quiet)
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>") or page.lower().startswith("<!doctype")
    assert "pages" in page and page != before
    model = find_config(str(folder / "run/model"), folder / "job.yaml", [])
    assert report_path(model, None) == folder / "run/report.html"
    plain = find_config("builtin:tiny-qwen3-vl", folder / "job.yaml", [])
    with pytest.raises(ConfigError, match="--report: name a folder"):
        report_path(plain, None)


def test_a_run_without_evaluators_is_named_and_data_are_told_from_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/plain/model").mkdir(parents=True)
    (tmp_path / "runs/plain/model/modules.json").write_text("[]")
    without = {key: value for key, value in job(tmp_path).items() if key != "evaluators"}
    write_job(without, tmp_path / "runs/plain/config.yaml")
    for target in (None, "runs/plain"):
        with pytest.raises(ConfigError, match=r"^runs/plain: its config has no evaluators, .* by --config"):
            find_config(target, None, [])
    (tmp_path / "rows.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match=r"^rows\.csv: these are rows, not a config\. `mmst init --from rows\.csv`"):
        find_config("rows.csv", None, [])


@pytest.mark.parametrize("target", ["gone", "runs/gone", "./gone"])
def test_a_target_that_is_not_there_is_no_model(target):
    with pytest.raises(
        ConfigError, match=rf"^{target}: no such run\. If it is a model of the hub, add --config CONFIG"
    ):
        find_config(target, None, [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dims": (8, 8)}, "--dims: 8,8"),
        ({"dims": (0,)}, "--dims: 0"),
        ({"precisions": ("int4",)}, "--precisions: int4"),
        ({"precisions": ("int8", "int8")}, "--precisions: int8,int8"),
        ({"keep": 1.5}, "--keep: 1.5"),
        ({"keep": 0.0}, "--keep: 0.0"),
        ({"keep": float("nan")}, "--keep: nan"),
    ],
)
def test_options_that_make_no_sense(options, words, config):
    with pytest.raises(ConfigError, match=words):
        with_grid(config, EvaluationOptions(**options))


def test_identical_pages_count_once(folder, quiet, tmp_path):
    from datasets import Dataset, Features, Image, Value

    features = Features({"query": Value("string"), "image": Image(decode=False)})
    rows = list(Dataset.from_parquet(str(folder / "eval.parquet")).cast(features))
    rows[5]["image"] = rows[4]["image"]
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "twice.parquet"))
    override = [f"datasets.eval.path={tmp_path / 'twice.parquet'}"]
    once = found(run_evaluation(find_config(str(folder / "run"), None, override), None, quiet))
    assert (once.corpus, once.duplicates) == (23, 1)
    assert "1 documents are identical" in quiet.shown.getvalue() or "identical" in quiet.shown.getvalue()
    override.append("evaluators.pages.deduplicate=false")
    twice = found(run_evaluation(find_config(str(folder / "run"), None, override), None, quiet))
    assert (twice.corpus, twice.duplicates) == (24, 0)


def test_judgements_in_the_layout_of_beir(folder, quiet, tmp_path):
    beir = tmp_path / "beir"
    (beir / "qrels").mkdir(parents=True)
    texts = ["a page with a red header", "a page with a blue header", "a table at the top left"]
    lines = [json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(texts)]
    (beir / "corpus.jsonl").write_text("\n".join(lines))
    (beir / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "red header"}))
    (beir / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td0\t2\nq\td1\t1\n")
    columns = "{queries/text: {role: anchor}, corpus/text: {role: positive}}"
    overrides = [f"datasets.eval.path={beir}", "datasets.eval.layout=beir", "datasets.eval.split=test"]
    config = find_config(str(folder / "run"), None, [*overrides, f"datasets.eval.columns={columns}"])
    outcome = run_evaluation(config, EvaluationOptions(dims=(128, 8), save_run=tmp_path / "trec"), quiet)
    assert (found(outcome).queries, found(outcome).corpus) == (1, 3)
    assert (tmp_path / "trec/pages.qrels").read_text() == "q 0 d0 2\nq 0 d1 1\n"


def test_the_library_evaluators_run_at_several_dimensions_on_one_pass(folder, quiet, tmp_path):
    from datasets import Dataset

    rows = [{"a": f"a {c} page", "p": f"page, {c}", "n": f"no {c}", "s": float(i % 2)} for i, c in enumerate("rgbyw")]
    Dataset.from_list(rows).to_json(str(tmp_path / "rows.jsonl"))
    base = load_config(folder / "job.yaml")
    kinds = {
        "TripletEvaluator": "{a: {role: anchor}, p: {role: positive}, n: {role: negative}}",
        "EmbeddingSimilarityEvaluator": "{a: {role: anchor}, p: {role: positive}, s: {role: label}}",
        "BinaryClassificationEvaluator": "{a: {role: anchor}, p: {role: positive}, s: {role: label}}",
    }
    from mmst_cli.config.schema import EvaluatorConfig
    from mmst_cli.evaluation.evaluator_suite import build_evaluator
    from mmst_cli.model.precision import Precision
    from mmst_cli.rows.row_preparation import prepare_rows

    assert base.evaluators
    for kind, columns in kinds.items():
        overrides = [f"datasets.eval.path={tmp_path / 'rows.jsonl'}", f"datasets.eval.columns={columns}"]
        section = load_config(folder / "job.yaml", overrides).datasets["eval"]
        data = prepare_rows("eval", section)
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(folder / "run/model"), device="cpu")
        calls = []
        original = model.preprocess
        model.preprocess = lambda inputs, *a, o=original, c=calls, **k: c.append(len(inputs)) or o(inputs, *a, **k)
        several = build_evaluator("e", EvaluatorConfig(type=kind, dataset="eval", dims=[128, 8]), data, Precision())
        metrics = several(model)
        once = sum(calls)
        calls.clear()
        for dim in (128, 8):
            alone = build_evaluator(
                "e", EvaluatorConfig(type=kind, dataset="eval", args={"truncate_dim": dim}), data, Precision()
            )
            for name, value in alone(model).items():
                assert metrics[f"e_dim_{dim}_{name.removeprefix('e_')}"] == pytest.approx(value, abs=1e-6), (kind, name)
        assert sum(calls) == 2 * once, kind


def test_a_run_that_is_being_started_is_no_model(tmp_path):
    (tmp_path / ".mmst.lock").touch()
    with pytest.raises(RunError, match=r"no run is there yet\. A command is starting one"):
        find_config(str(tmp_path), None, [])
