"""Searches beside brute force: all scores in NumPy, in float64, and all ids sorted."""

import numpy as np
import pytest

from mmst_cli.errors import ConfigError, DataError
from mmst_cli.searching import exact_search, searched_vectors

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
FORMS = [  # stored, searched in, dimension
    *[("float32", precision, dim) for precision in searched_vectors.SEARCHED for dim in (12, 5)],
    *[("float16", precision, dim) for precision in searched_vectors.SEARCHED[1:] for dim in (12, 5)],
    *[("int8", precision, 12) for precision in searched_vectors.SEARCHED[2:]],
    *[("binary", precision, dim) for precision in ("binary", "binary-rescored") for dim in (12, 5)],
]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(searched_vectors, "PIECE_VALUES", 12 * 4)
    monkeypatch.setattr(exact_search, "SCORES", 9)


def normalised(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def to_int8(values, low, high):
    return np.clip(np.floor((values - low) / ((high - low) / np.float32(255))), 0, 255) - 128


def similarities(queries, corpus, name):
    queries, corpus = queries.astype(np.float64), corpus.astype(np.float64)
    if name == "cosine":
        queries, corpus = normalised(queries), normalised(corpus)
    if name in ("cosine", "dot"):
        return queries @ corpus.T
    difference = np.abs(queries[:, None] - corpus[None])
    return -difference.sum(axis=2) if name == "manhattan" else -np.sqrt((difference**2).sum(axis=2))


def brute_force(queries, corpus, ids, k, *, stored, precision, dim, similarity):
    ranges = corpus.min(axis=0), corpus.max(axis=0)
    if stored == "float16":
        corpus = corpus.astype(np.float16).astype(np.float32)
    if stored == "int8":
        step = (ranges[1] - ranges[0]) / np.float32(255)
        corpus = ranges[0] + (to_int8(corpus, *ranges) + np.float32(128.5)) * step
    whole = dim == corpus.shape[1]
    if not whole:
        queries, corpus = (normalised(side[:, :dim]) for side in (queries, corpus))
    if precision == "float16" and not (stored == "float16" and whole):
        corpus = corpus.astype(np.float16).astype(np.float32)
    if precision == "int8":
        ranges = ranges if stored == "int8" else (corpus.min(axis=0), corpus.max(axis=0))
        queries, corpus = to_int8(queries, *ranges), to_int8(corpus, *ranges)
    if precision.startswith("binary"):
        signs, bits = np.where(queries > 0, 1, -1), corpus > 0
        scores = signs @ np.where(bits, 1, -1).T
        if precision == "binary-rescored":
            last = -np.sort(-scores, axis=1)[:, : 4 * k][:, -1:]
            scores = np.where(scores >= last, queries.astype(np.float64) @ bits.T, -np.inf)
    else:
        scores = similarities(queries, corpus, similarity)
    scores = scores.astype(np.float32)
    order = [sorted(range(len(ids)), key=lambda place: (-row[place], ids[place]))[:k] for row in scores]
    return [[(ids[place], float(row[place])) for place in best] for best, row in zip(order, scores, strict=True)]


def assert_same(found, expected):
    assert [[name for name, _ in hits] for hits in found] == [[name for name, _ in hits] for hits in expected]
    for hits, right in zip(found, expected, strict=True):
        np.testing.assert_allclose([score for _, score in hits], [score for _, score in right], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(("stored", "precision", "dim"), FORMS)
def test_it_is_brute_force(stored, precision, dim, similarity, store, look_for):
    rng = np.random.default_rng(0)
    corpus, queries = (rng.normal(size=(count, 12)).astype(np.float32) for count in (60, 5))
    ids = [f"{number:03d}" for number in rng.permutation(60)]
    corpus[40:44] = corpus[7]  # duplicates, which are ties
    folder = store(corpus, ids, stored, similarity)
    form = {"precision": precision, "dim": dim}
    expected = brute_force(queries, corpus, ids, 6, stored=stored, similarity=similarity, **form)
    assert_same(look_for(folder, queries, top=6, **form), expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("precision", ["float32", "binary", "binary-rescored"])
def test_ties_stand_in_the_order_of_their_ids(seed, precision, store, look_for):
    rng = np.random.default_rng(seed)
    # Small whole numbers: nearly all scores are tied, the last of those that are taken too.
    corpus, queries = (rng.integers(-1, 2, size=(count, 3)).astype(np.float32) for count in (50, 4))
    ids = [f"{number:03d}" for number in rng.permutation(50)]
    folder = store(corpus, ids, similarity="dot", rows=31)
    expected = brute_force(queries, corpus, ids, 5, stored="float32", precision=precision, dim=3, similarity="dot")
    assert look_for(folder, queries, top=5, precision=precision) == expected


def test_equal_vectors_have_equal_scores_wherever_they_stand(store, look_for):
    rng = np.random.default_rng(0)
    one = rng.normal(size=(1, 333)).astype(np.float32)
    names = [f"{number:04d}" for number in rng.permutation(1000)]
    hits = look_for(store(np.repeat(one, 1000, axis=0), names, rows=77), rng.normal(size=(3, 333)), top=50)
    for found in hits:
        assert found == [(f"{number:04d}", found[0][1]) for number in range(50)]


@pytest.mark.parametrize("precision", searched_vectors.SEARCHED)
def test_one_document(precision, store, look_for):
    folder = store([[3.0, 4.0]], ["only"])
    if precision == "int8":
        with pytest.raises(DataError, match="can't be told from 1 vectors"):
            look_for(folder, [[0.6, 0.8]], precision=precision)
        return
    score = {"float16": 1.0, "float32": 1.0, "binary": 2, "binary-rescored": 1.4}[precision]
    assert look_for(folder, [[0.6, 0.8]], precision=precision) == [[("only", pytest.approx(score, abs=1e-3))]]


@pytest.mark.parametrize("precision", searched_vectors.SEARCHED)
def test_more_than_there_is_is_all_there_is(precision, store, look_for):
    corpus = np.random.default_rng(0).normal(size=(9, 12))
    found = look_for(store(corpus), corpus[:2], top=1000, precision=precision)
    assert [len(hits) for hits in found] == [9, 9]


def test_bits_are_rescored_unless_it_is_said_otherwise(store, look_for):
    rng = np.random.default_rng(0)
    corpus, queries = (rng.normal(size=(count, 12)) for count in (60, 5))
    folder = store(corpus, precision="binary")
    assert look_for(folder, queries) == look_for(folder, queries, precision="binary-rescored")
    assert look_for(folder, queries) != look_for(folder, queries, precision="binary")


def test_broken_vectors_are_left_out_and_said(store, look_for, spoil, quiet):
    corpus = np.eye(8, dtype=np.float32)
    folder = spoil(store(corpus, rows=4), 1, [0, 2])
    found = look_for(folder, corpus[6:7])
    assert sorted(name for name, _ in found[0]) == ["000", "001", "002", "003", "005", "007"]
    assert "2 vectors hold NaN or infinity and are left out, such as that of 004" in quiet.shown.getvalue()
    assert len(look_for(folder, corpus[6:7], precision="int8")[0]) == 6


def test_what_is_not_stored_is_refused(store, look_for):
    folder = store(np.eye(4), precision="int8")
    for options, sentence in [
        ({"dim": 5}, "have 4 dimensions. Write 1 to 4"),
        ({"dim": 0}, "have 4 dimensions"),
        ({"precision": "float16"}, "are int8, which holds less. They can be searched as int8, binary, binary-rescored"),
        ({"precision": "int4"}, "no such precision.*Did you mean int8"),
    ]:
        with pytest.raises(ConfigError, match=sentence):
            look_for(folder, np.eye(4), **options)
