"""Only the forward passes are in half precision: scores, ranks and metrics are those of the vectors in float32."""

import copy

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from small_job import write_pages

from mmst_cli.config.schema import ColumnConfig, DatasetConfig, EvaluatorConfig, Modality, Role, Use
from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite, build_evaluator
from mmst_cli.evaluation.retrieval_evaluator import MatryoshkaRetrievalEvaluator
from mmst_cli.model.precision import Precision
from mmst_cli.retrieval.retrieval_set import RowRetrieval
from mmst_cli.rows.row_preparation import prepare_rows

BF16 = Precision(torch.bfloat16)
COLUMNS = {
    "query": ColumnConfig(role=Role.anchor, modality=Modality.text),
    "image": ColumnConfig(role=Role.positive, modality=Modality.image),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = write_pages(tmp_path_factory.mktemp("pages") / "eval.parquet", "eval", 30)
    return prepare_rows("eval", DatasetConfig(use=Use.eval, path=str(path), columns=COLUMNS))


@pytest.fixture
def suite(rows):
    sections = {
        "ours": EvaluatorConfig(type="MatryoshkaRetrievalEvaluator", dataset="eval", dims=[128, 2]),
        "theirs": EvaluatorConfig(type="InformationRetrievalEvaluator", dataset="eval", dims=[128, 2]),
    }
    built = {name: build_evaluator(name, section, rows, BF16) for name, section in sections.items()}
    return EvaluatorSuite(built, BF16, "tiny")


class Held:
    """Stands for a model whose vectors are known."""

    def __init__(self, model, queries, corpus):
        self.model, self.queries, self.corpus = model, queries, corpus

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode_query(self, inputs, truncate_dim=None, **_):
        return self.queries[:, :truncate_dim]

    def encode_document(self, inputs, truncate_dim=None, **_):
        return self.corpus[:, :truncate_dim]


def metrics_of_library(evaluator, model):
    """Return what the library finds with the vectors of an evaluator of ours, in float32."""
    retrieval, (vectors, _, _) = evaluator.retrieval, evaluator._last
    data = {q: q for q in retrieval.query_ids}, {d: d for d in retrieval.corpus_ids}
    found = {}
    for dim in (128, 2):
        relevant = {q: set(answers) for q, answers in retrieval.relevant.items()}
        theirs = InformationRetrievalEvaluator(*data, relevant, truncate_dim=dim, write_csv=False)
        scores = theirs(Held(model, vectors.queries, vectors.corpus))
        found |= {f"dim_{dim}_{name}": value for name, value in scores.items()}
    return found


def test_metrics_of_both_kinds_of_evaluators_are_those_of_the_vectors_in_float32(tiny_model, suite):
    metrics = suite(tiny_model)
    ours = suite.evaluators["ours"]
    assert ours._last[0].corpus.dtype == torch.float32
    wanted = metrics_of_library(ours, tiny_model)
    assert len(wanted) == 30
    for name, value in wanted.items():
        assert metrics[f"ours_{name}"] == pytest.approx(value, abs=1e-9), name
        assert metrics[f"theirs_{name}"] == pytest.approx(value, abs=1e-9), name


def test_scores_tell_documents_apart_and_galleries_rank_as_the_metrics_do(tiny_model, suite, rows):
    suite(tiny_model)
    ours = suite.evaluators["ours"]
    cell = ours.evaluation.result.cells[-1]
    hits = ours.hits(cell, 30)
    # In bfloat16 30 similarities between -1 and 1 would fall onto a few values.
    assert min(len(np.unique(row)) for row in hits.scores) > 25
    found = 1 / (1 + hits.relevant.argmax(axis=1))
    assert np.where(found >= 0.1, found, 0).mean() == pytest.approx(cell.metrics["mrr@10"])


def test_what_a_user_s_own_evaluator_gets_is_float32(tiny_model):
    with BF16.forward_of(tiny_model):
        assert tiny_model.encode(["a"], output_value="token_embeddings")[0].dtype == torch.float32
        found = tiny_model(tiny_model.preprocess(["a"]))["token_embeddings"]
    assert found.dtype == torch.float32


def test_vectors_are_those_of_a_model_that_the_trainer_prepared(tiny_model, rows):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    model = copy.deepcopy(tiny_model)
    vars(model).pop("forward", None)  # of a trainer that another test gave the shared model to
    retrieval = RowRetrieval(rows)
    first = MatryoshkaRetrievalEvaluator(retrieval, name="p", precision=BF16)
    first(model)
    assert "forward" not in vars(model)
    evaluators = [MatryoshkaRetrievalEvaluator(retrieval, name="p", precision=p) for p in (BF16, Precision())]
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        prepared = Accelerator(cpu=True, mixed_precision="bf16").prepare_model(model)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    forward = prepared.forward
    for evaluator in evaluators:
        evaluator(prepared)
        assert torch.equal(evaluator.corpus_vectors, first.corpus_vectors)
    assert prepared.forward == forward
