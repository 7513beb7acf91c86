import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from mmst_cli.vectors import ranking
from mmst_cli.vectors.ranking import best_hits, metrics_per_query, relevance, relevant_ranks

CPU = torch.device("cpu")
KS = {
    "accuracy": [1, 3, 5, 10],
    "precision": [1, 3, 5, 10],
    "recall": [1, 3, 5, 10],
    "ndcg": [10],
    "mrr": [10],
    "map": [100],
}


class FixedVectors(InformationRetrievalEvaluator):
    """The library's evaluator on vectors that are given."""

    def embed_inputs(self, model, sentences, encode_fn_name=None, **_):
        return model[encode_fn_name]


def library_metrics(queries, corpus, query_ids, corpus_ids, relevant):
    evaluator = FixedVectors(
        dict.fromkeys(query_ids),
        dict.fromkeys(corpus_ids),
        {query: set(answers) for query, answers in relevant.items()},
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    found = evaluator.compute_all_metrics({"query": queries, "document": corpus})["cosine"]
    return {name.replace("@k", f"@{k}"): float(v) for name, at in found.items() for k, v in at.items()}


def ranks_of(queries, corpus, wanted):
    return relevant_ranks(lambda index: cos_sim(queries[index], corpus), wanted, CPU)


def our_metrics(queries, corpus, query_ids, corpus_ids, relevant):
    wanted = relevance(query_ids, corpus_ids, relevant)
    values = metrics_per_query(ranks_of(queries, corpus, wanted), wanted, KS)
    return {name: float(value.mean()) for name, value in values.items()}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 12),
    documents=st.integers(1, 150),
    levels=st.sampled_from([1, 2, 3, 1000]),
)
def test_equals_the_library_on_random_rankings_with_ties(seed, queries, documents, levels):
    rng = np.random.default_rng(seed)
    # Few levels make many equal vectors, so that ties are the rule.
    corpus = torch.tensor(rng.integers(0, levels, (documents, 4)) + 1, dtype=torch.float32)
    asked = torch.tensor(rng.integers(0, levels, (queries, 4)) + 1, dtype=torch.float32)
    query_ids = [f"q{i}" for i in range(queries)]
    corpus_ids = [f"d{i}" for i in rng.permutation(documents)]
    relevant = {
        q: dict.fromkeys(rng.choice(corpus_ids, size=rng.integers(1, min(documents, 14) + 1), replace=False), 1)
        for q in query_ids
    }
    case = (asked, corpus, query_ids, corpus_ids, relevant)
    theirs = library_metrics(*case)
    ours = our_metrics(*case)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


def test_chunks_of_queries_give_the_same_ranks(monkeypatch):
    torch.manual_seed(0)
    corpus, queries = torch.randn(50, 8), torch.randn(20, 8)
    ids = [f"d{i}" for i in range(50)]
    wanted = relevance([f"q{i}" for i in range(20)], ids, {f"q{i}": {ids[i]: 1, ids[49 - i]: 1} for i in range(20)})
    whole = ranks_of(queries, corpus, wanted)
    monkeypatch.setattr(ranking, "SCORES_AT_A_TIME", 150)  # three pairs at a time
    assert torch.equal(ranks_of(queries, corpus, wanted), whole)


def test_broken_vectors_never_score_well():
    corpus = torch.ones(5, 4)
    corpus[2] = float("nan")
    wanted = relevance(["q"], [f"d{i}" for i in range(5)], {"q": {"d2": 1}})
    assert ranks_of(torch.ones(1, 4), corpus, wanted).tolist() == [5]
    whole = relevance(["q"], [f"d{i}" for i in range(5)], {"q": {"d0": 1}})
    assert ranks_of(torch.ones(1, 4), corpus, whole).tolist() == [1]


def test_the_best_hits_stand_in_order_of_score_and_then_id():
    ids = ["d2", "d0", "d3", "d1"]
    wanted = relevance(["q"], ids, {"q": {"d0": 1}})
    scores = torch.tensor([[1.0, 1.0, 2.0, 1.0]])
    documents, values = best_hits(lambda index: scores[index], wanted, 3, CPU)
    assert [ids[index] for index in documents[0]] == ["d3", "d0", "d1"]
    assert values[0].tolist() == [2.0, 1.0, 1.0]
    assert best_hits(lambda index: scores[index], wanted, 9, CPU)[0].shape == (1, 4)
