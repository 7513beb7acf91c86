from pathlib import Path

import pytest
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from small_job import write_pages

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, EvaluatorConfig, Modality, Role, Use
from mmst_cli.errors import ConfigError, DataError
from mmst_cli.evaluation.evaluation_results import load_evaluation, save_evaluation
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite, build_evaluator
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.model.precision import Precision
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.row_preparation import prepare_rows
from mmst_cli.vectors import batches
from mmst_cli.vectors.data_workers import Workers

DIMS = [128, 64, 8]
COLUMNS = {
    "query": ColumnConfig(role=Role.anchor, modality=Modality.text),
    "image": ColumnConfig(role=Role.positive, modality=Modality.image),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = write_pages(tmp_path_factory.mktemp("pages") / "eval.parquet", "eval", 40)
    return prepare_rows("eval", DatasetConfig(use=Use.eval, path=str(path), columns=COLUMNS))


@pytest.fixture(scope="module")
def retrieval(rows):
    return RowRetrieval(rows)


def library_evaluator(retrieval, dim, **options):
    queries = dict(zip(retrieval.query_ids, [{"text": text} for _, text in retrieval.queries()], strict=True))
    corpus = dict(zip(retrieval.corpus_ids, [image for _, image in retrieval.corpus()], strict=True))
    return InformationRetrievalEvaluator(
        queries,
        corpus,
        {q: set(d) for q, d in retrieval.relevant.items()},
        truncate_dim=dim,
        name="p",
        write_csv=False,
        **options,
    )


def test_every_metric_at_every_dimension_equals_the_library(tiny_model, retrieval):
    found = MatryoshkaRetrievalEvaluator(retrieval, DIMS, name="pages")(tiny_model)
    for dim in DIMS:
        theirs = library_evaluator(retrieval, dim)(tiny_model)
        assert len(theirs) == 15
        for name, value in theirs.items():
            ours = found[f"pages_dim_{dim}_{name.removeprefix('p_')}"]
            assert ours == pytest.approx(value, abs=1e-6), (dim, name)
    assert found["pages_cosine_ndcg@10"] == found["pages_dim_128_cosine_ndcg@10"]


def test_similarity_of_the_model_decides(tiny_model, retrieval):
    tiny_model.similarity_fn_name = "euclidean"
    try:
        found = MatryoshkaRetrievalEvaluator(retrieval, [16], name="pages")(tiny_model)
        theirs = library_evaluator(retrieval, 16)(tiny_model)
    finally:
        tiny_model.similarity_fn_name = "cosine"
    assert found["pages_euclidean_ndcg@10"] == pytest.approx(theirs["p_euclidean_ndcg@10"], abs=1e-6)


def test_each_input_is_encoded_once_whatever_the_number_of_dimensions(tiny_model, retrieval, monkeypatch):
    counts = []
    original = type(tiny_model).preprocess

    def counting(self, inputs, *args, **kwargs):
        counts.append(len(inputs))
        return original(self, inputs, *args, **kwargs)

    monkeypatch.setattr(type(tiny_model), "preprocess", counting)
    MatryoshkaRetrievalEvaluator(retrieval, [128, 96, 64, 48, 32, 16, 8], workers=Workers())(tiny_model)
    assert sum(counts) == 40 + 40


@pytest.mark.parametrize("workers", [0, 2])
def test_small_windows_and_other_processes_give_the_same_scores(workers, tiny_model, retrieval, monkeypatch):
    def scores():
        evaluator = MatryoshkaRetrievalEvaluator(retrieval, DIMS, name="p", batch_size=8, workers=Workers(workers))
        return evaluator(tiny_model)

    whole = scores()
    monkeypatch.setattr(batches, "WINDOW_BYTES", 1)  # a window is then one batch
    assert scores() == pytest.approx(whole)


def test_per_query_values_average_to_the_metric(tiny_model, retrieval):
    evaluator = MatryoshkaRetrievalEvaluator(retrieval, DIMS, name="p")
    evaluator(tiny_model)
    result, values = evaluator.evaluation.result, evaluator.evaluation.per_query
    assert list(values) == [cell.key for cell in result.cells]
    for cell in result.cells:
        assert len(values[cell.key]) == 40
        assert values[cell.key].mean() == pytest.approx(result.primary(cell))
        assert cell.interval[0] <= result.primary(cell) <= cell.interval[1]


def test_cut_offs_and_prompts_are_used(tiny_model, rows):
    plain = build_evaluator(
        "p", EvaluatorConfig(type="MatryoshkaRetrievalEvaluator", dataset="eval", dims=[32]), rows, Precision()
    )
    section = EvaluatorConfig(
        type="MatryoshkaRetrievalEvaluator",
        dataset="eval",
        dims=[32],
        args={"ndcg_at_k": [3], "query_prompt": "Find: ", "batch_size": 4},
    )
    changed = build_evaluator("p", section, rows, Precision())
    plain(tiny_model)
    found = changed(tiny_model)
    assert "p_cosine_ndcg@3" in found and "p_cosine_ndcg@10" not in found
    assert changed.evaluation.result.primary_metric == "ndcg@3"
    theirs = library_evaluator(RowRetrieval(rows), 32, query_prompt="Find: ", ndcg_at_k=[3], batch_size=4)(tiny_model)
    assert found["p_cosine_mrr@10"] == pytest.approx(theirs["p_cosine_mrr@10"], abs=1e-6)


@pytest.mark.parametrize("text", ["{page}", "https://example.invalid/a.png", "data:image/png;base64,AAAA"])
def test_a_query_that_looks_like_media_is_text(text, tiny_model, tmp_path, monkeypatch):
    from datasets import Dataset, Features, Image, Value
    from PIL import Image as PILImage

    page = tmp_path / "page.png"
    PILImage.new("RGB", (96, 128), "red").save(page)
    text = text.format(page=page)
    features = Features({"query": Value("string"), "image": Image()})
    path = tmp_path / "rows.parquet"
    image = {"bytes": page.read_bytes(), "path": None}
    Dataset.from_list([{"query": text, "image": image}] * 2, features=features).to_parquet(str(path))
    rows = prepare_rows("eval", DatasetConfig(use=Use.eval, path=str(path), columns=COLUMNS))
    opened = []
    original = PILImage.open
    monkeypatch.setattr(PILImage, "open", lambda file, *a, **k: opened.append(file) or original(file, *a, **k))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("something was fetched"))
    evaluator = MatryoshkaRetrievalEvaluator(RowRetrieval(rows), [128])
    evaluator(tiny_model)
    vectors = evaluator._last[0].queries
    assert not any(isinstance(file, str | Path) for file in opened)
    assert torch.equal(vectors, tiny_model.encode_query([{"text": text}], convert_to_tensor=True))


def test_the_declared_precision_is_used_for_every_evaluator(tiny_model, rows):
    precision = Precision(torch.bfloat16)
    section = EvaluatorConfig(type="MatryoshkaRetrievalEvaluator", dataset="eval", dims=[128])
    theirs = EvaluatorConfig(type="InformationRetrievalEvaluator", dataset="eval")
    evaluators = {
        "ours": build_evaluator("ours", section, rows, precision),
        "theirs": build_evaluator("theirs", theirs, rows, precision),
    }
    seen = []
    handle = tiny_model[0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    try:
        metrics = EvaluatorSuite(evaluators, precision, "tiny")(tiny_model)
        EvaluatorSuite({"ours": build_evaluator("ours", section, rows, Precision())}, Precision(), "t")(tiny_model)
    finally:
        handle.remove()
    assert seen == [True] * 8 + [False] * 4  # queries and documents, two batches of 32 each
    assert {"ours_cosine_ndcg@10", "theirs_cosine_ndcg@10"} <= set(metrics)


def test_the_library_evaluators_are_fed_from_columns(tiny_model, tmp_path):
    from datasets import Dataset

    table = [{"a": f"text {i}", "p": f"text {i}!", "n": f"other {i}", "s": float(i % 2)} for i in range(6)]
    path = tmp_path / "rows.jsonl"
    Dataset.from_list(table).to_json(str(path))
    roles = {"a": Role.anchor, "p": Role.positive}
    triplet = {**roles, "n": Role.negative}
    scored = {**roles, "s": Role.label}
    cases = {
        "TripletEvaluator": (triplet, "e_cosine_accuracy"),
        "RerankingEvaluator": (triplet, "e_map"),
        "EmbeddingSimilarityEvaluator": (scored, "e_spearman_cosine"),
        "BinaryClassificationEvaluator": (scored, "e_cosine_ap"),
    }
    for kind, (columns, metric) in cases.items():
        section = DatasetConfig(
            use=Use.eval, path=str(path), columns={name: ColumnConfig(role=role) for name, role in columns.items()}
        )
        evaluator = build_evaluator(
            "e", EvaluatorConfig(type=kind, dataset="eval"), prepare_rows("eval", section), Precision()
        )
        suite = EvaluatorSuite({"e": evaluator}, Precision(), "tiny")
        assert metric in suite(tiny_model), kind
        assert suite.evaluations["e"].result.full.metrics[suite.evaluations["e"].result.primary_metric] is not None


@pytest.mark.parametrize("kind", ["EmbeddingSimilarityEvaluator", "BinaryClassificationEvaluator"])
def test_labels_that_are_all_the_same_measure_nothing(kind, prepare, parquet):
    roles = {"a": Role.anchor, "p": Role.positive, "s": Role.label}
    columns = {name: ColumnConfig(role=role) for name, role in roles.items()}
    rows = prepare(parquet(a=["a", "b"], p=["c", "d"], s=[1.0, 1.0]), columns)
    with pytest.raises(DataError, match=r"^datasets\.train, column s: all labels are 1\.0, and an evaluator"):
        build_evaluator("e", EvaluatorConfig(type=kind, dataset="train"), rows, Precision())


def test_a_refused_argument_names_its_key(rows):
    section = EvaluatorConfig(
        type="InformationRetrievalEvaluator", dataset="eval", args={"main_score_function": "nonsense"}
    )
    with pytest.raises(ConfigError, match=r"evaluators\.p\.args: InformationRetrievalEvaluator"):
        build_evaluator("p", section, rows, Precision())


def test_results_are_saved_and_read_back(tiny_model, rows, tmp_path):
    section = EvaluatorConfig(type="MatryoshkaRetrievalEvaluator", dataset="eval", dims=DIMS)
    suite = EvaluatorSuite({"p": build_evaluator("p", section, rows, Precision())}, Precision(), "the-model")
    suite(tiny_model)
    found = suite.evaluations["p"]
    saved = load_evaluation(save_evaluation(found, tmp_path))
    assert saved.result == found.result and saved.query_ids == found.query_ids
    assert all((saved.per_query[key] == values).all() for key, values in found.per_query.items())
    result = found.result
    assert (result.model, result.queries, result.corpus) == ("the-model", 40, 40)
    assert [cell.bytes_per_vector for cell in result.cells] == [512, 256, 32]
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith("dim,precision,bytes_per_vector,interval_low")
