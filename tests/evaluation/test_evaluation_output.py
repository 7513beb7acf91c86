"""Run files mean the same to trec_eval as to us."""

from types import SimpleNamespace

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.util import dot_score

from mmst_cli.evaluation.evaluation_output import run_lines, save_runs
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, Hits
from mmst_cli.vectors.ranking import best_hits, metrics_per_query, relevance, relevant_ranks
from mmst_cli.vectors.scoring import Scoring

KS = {"ndcg": [5, 10], "map": [100], "mrr": [100], "recall": [5, 10], "precision": [5, 10]}
NAMES = {
    "ndcg@5": "ndcg_cut_5",
    "ndcg@10": "ndcg_cut_10",
    "map@100": "map",
    "mrr@100": "recip_rank",
    "recall@5": "recall_5",
    "recall@10": "recall_10",
    "precision@5": "P_5",
    "precision@10": "P_10",
}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), documents=st.integers(1, 90), levels=st.sampled_from([1, 3, 1000]))
def test_graded_metrics_and_ties_equal_trec_eval(seed, documents, levels):
    rng = np.random.default_rng(seed)
    queries, ids = [f"q{i}" for i in range(4)], [f"d{i}" for i in rng.permutation(documents)]
    relevant = {
        query: {
            str(ids[d]): int(rng.integers(1, 4))
            for d in rng.choice(documents, rng.integers(1, min(12, documents) + 1), replace=False)
        }
        for query in queries
    }
    scores = torch.tensor(rng.integers(0, levels, (4, documents)) / 7, dtype=torch.float32)
    wanted = relevance(queries, ids, relevant)
    one_by_one = torch.eye(documents)
    fixed = Scoring(scores.__getitem__, one_by_one.__getitem__, dot_score, (4, documents), scores.device)
    ours = metrics_per_query(relevant_ranks(fixed, wanted), wanted, KS)

    documents_found, values = best_hits(fixed, wanted, 100)
    hits = Hits(documents_found.numpy(), values.numpy(), np.zeros(0))
    run = {}
    for line in run_lines(hits, queries, ids, "mmst"):
        query, q0, document, rank, score, tag = line.split()
        assert (q0, tag) == ("Q0", "mmst") and int(rank) == len(run.get(query, {})) + 1
        run.setdefault(query, {})[document] = float(score)
    measures = {"ndcg_cut.5,10", "map", "recip_rank", "recall.5,10", "P.5,10"}
    theirs = pytrec_eval.RelevanceEvaluator(relevant, measures).evaluate(run)
    for name, measure in NAMES.items():
        for index, query in enumerate(queries):
            assert float(ours[name][index]) == pytest.approx(theirs[query][measure], abs=1e-6), (name, query)


def test_files_for_every_cell_and_the_judgements(tmp_path):
    cells = [Cell(8, "float32", 32, {"ndcg@2": 1.0}), Cell(4, "binary", 1, {"ndcg@2": 0.5})]
    evaluator = SimpleNamespace(
        name="pages",
        ks={"ndcg": [2]},
        evaluation=Evaluation(EvaluationResult("pages", "m", 1, 2, "ndcg@2", cells)),
        retrieval=SimpleNamespace(query_ids=["a query"], corpus_ids=["d0", "d 1"]),
        hits=lambda cell, k: Hits(np.array([[1, 0]]), np.array([[0.5, 0.5]], dtype=np.float32), np.zeros((1, 2))),
        judgements=lambda: {"a query": {"d 1": 2}},
    )
    paths = save_runs(evaluator, tmp_path, "my run")
    assert [path.name for path in paths] == ["pages.8.float32.trec", "pages.4.binary.trec", "pages.qrels"]
    assert paths[0].read_text().splitlines()[0] == "a_query Q0 d_1 1 0.5 my_run"
    assert float(paths[0].read_text().splitlines()[1].split()[4]) < 0.5
    assert paths[2].read_text() == "a_query 0 d_1 2\n"
