import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.util import cos_sim

from mmst_cli.vectors import ranking, scoring
from mmst_cli.vectors.ranking import best_hits, metrics_per_query, relevance, relevant_ranks
from mmst_cli.vectors.scoring import Scoring

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


def scores_of(queries, corpus, similarity=cos_sim):
    counts = len(queries), len(corpus)
    return Scoring(queries.__getitem__, corpus.__getitem__, similarity, counts, corpus.device)


def ranks_of(queries, corpus, wanted, deepest=None):
    return relevant_ranks(scores_of(queries, corpus), wanted, deepest)


def our_metrics(queries, corpus, query_ids, corpus_ids, relevant):
    wanted = relevance(query_ids, corpus_ids, relevant)
    values = metrics_per_query(ranks_of(queries, corpus, wanted, deepest=100), wanted, KS)
    return {name: float(value.mean()) for name, value in values.items()}


def _vectors(rng, count, kinds):
    """Few kinds make ties the rule; of length 1 to the bit, so that no product rounds and splits what is equal."""
    if kinds is None:
        return torch.tensor(rng.normal(size=(count, 4)), dtype=torch.float32)
    units = torch.cat([torch.eye(4), -torch.eye(4), torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 4)])
    return units[torch.tensor(rng.integers(0, kinds, count) * (len(units) // kinds))]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 12),
    documents=st.integers(1, 150),
    kinds=st.sampled_from([1, 4, 24, None]),
)
def test_equals_the_library_on_random_rankings_with_ties(seed, queries, documents, kinds):
    rng = np.random.default_rng(seed)
    corpus, asked = (_vectors(rng, count, kinds) for count in (documents, queries))
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


def in_pieces(patch, queries, scores):
    """Let a tile have so many queries and scores at most."""
    patch.setattr(scoring, "QUERIES", queries)
    patch.setattr(scoring, "SCORES", {"cpu": scores})
    patch.setattr(scoring, "DOCUMENTS", 9)
    patch.setattr(ranking, "GROUP", 4)
    patch.setattr(ranking, "COMPARED", 8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    queries=st.integers(1, 12),
    documents=st.integers(1, 60),
    scores=st.sampled_from([1, 7, 20, 32, 1000]),
    at_a_time=st.sampled_from([1, 4, 5, 100]),
)
def test_tiles_of_any_shape_give_the_ranks_and_hits_of_sorting_everything(seed, queries, documents, scores, at_a_time):
    rng = np.random.default_rng(seed)
    # Small whole numbers: many equal scores, and no rounding.
    asked, corpus = (torch.tensor(rng.integers(-2, 3, (n, 3)), dtype=torch.float32) for n in (queries, documents))
    ids = [f"d{i}" for i in rng.permutation(documents)]
    names = [f"q{i}" for i in range(queries)]
    relevant = {q: dict.fromkeys(rng.choice(ids, rng.integers(1, documents + 1), replace=False), 1) for q in names}
    wanted, every = relevance(names, ids, relevant), asked @ corpus.T
    sorted_ids = [sorted(range(documents), key=lambda d, q=q: (-every[q, d], ids[d])) for q in range(queries)]
    expected = [sorted_ids[q].index(d) for q, d in zip(wanted.query, wanted.document, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        in_pieces(patch, at_a_time, scores)
        tiled = scores_of(asked, corpus, lambda one, other: one @ other.T)
        found = relevant_ranks(tiled, wanted)
        cut = relevant_ranks(tiled, wanted, deepest=5)
        hits, values = best_hits(tiled, wanted, 7)
    assert found.tolist() == expected
    assert cut.clamp(max=5).tolist() == found.clamp(max=5).tolist()
    assert hits.tolist() == [row[:7] for row in sorted_ids]
    assert torch.equal(values, every.gather(1, hits))


def test_no_more_than_a_tile_is_computed_at_once(monkeypatch):
    in_pieces(monkeypatch, 8, 40)
    shapes, made = set(), []
    queries, corpus = torch.randn(20, 8), torch.randn(53, 8)

    def compare(one, other):
        shapes.add((len(one), len(other)))
        return one @ other.T

    def documents(places):
        made.append(places)
        return corpus[places]

    watched = Scoring(queries.__getitem__, documents, compare, (20, 53), corpus.device)
    ids = [f"d{i}" for i in range(53)]
    relevant_ranks(watched, relevance([f"q{i}" for i in range(20)], ids, {f"q{i}": {ids[i]: 1} for i in range(20)}))
    assert shapes == {(8, 5), (4, 9)}  # the last tiles too have the shape of the others
    assert len(made) == 2 * (11 + 2) + 6 + 1


def test_a_document_is_not_ahead_of_itself_however_its_score_is_rounded():
    corpus, wobble = torch.eye(6), iter([0.0, 1e-6])

    def compare(one, other):
        return one @ other.T + next(wobble)

    wanted = relevance(["q"], [f"d{i}" for i in range(6)], {"q": {"d3": 1}})
    one = Scoring(corpus[3:4].__getitem__, corpus.__getitem__, compare, (1, 6), corpus.device)
    assert relevant_ranks(one, wanted).tolist() == [0]


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
    fixed = scores_of(torch.tensor([[1.0, 1.0, 2.0, 1.0]]), torch.eye(4), lambda one, other: one @ other.T)
    documents, values = best_hits(fixed, wanted, 3)
    assert [ids[index] for index in documents[0]] == ["d3", "d0", "d1"]
    assert values[0].tolist() == [2.0, 1.0, 1.0]
    assert best_hits(fixed, wanted, 9)[0].shape == (1, 4)
