import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmst_cli.errors import ConfigError
from mmst_cli.vectors import nearest as module
from mmst_cli.vectors.nearest import check_index, nearest


def brute_force(queries, corpus, k):
    scores = queries @ corpus.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 50), st.integers(0, 10**6))
def test_it_is_brute_force_with_ties_by_place(queries, documents, k, seed):
    rng = np.random.default_rng(seed)
    # Small whole numbers: many equal scores, and no rounding.
    one, other = (rng.integers(-2, 3, size=(count, 3)).astype(np.float32) for count in (queries, documents))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "QUERIES", 7)
        patch.setattr(module, "DOCUMENTS", 11)
        scores, places = nearest(one, other, k)
    expected, order = brute_force(one, other, k)
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(places, order)
    assert scores.dtype == np.float32 and places.dtype == np.int64


def test_memory_maps_and_tensors_are_searched_alike(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    found = [nearest(given[:5], given, 3) for given in (vectors, mapped, torch.from_numpy(vectors))]
    for scores, places in found[1:]:
        np.testing.assert_array_equal(scores, found[0][0])
        np.testing.assert_array_equal(places, found[0][1])


def test_an_index_finds_what_is_nearest():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores, places = nearest(vectors[:40], vectors, 5, index="faiss")
    expected, order = nearest(vectors[:40], vectors, 5)
    assert (places == order).mean() > 0.98
    np.testing.assert_allclose(scores[places == order], expected[places == order], atol=1e-5)
    again = nearest(vectors[:40], vectors, 5, index="faiss")
    np.testing.assert_array_equal(again[1], places)


@pytest.mark.parametrize("index", ["exact", "faiss"])
def test_more_than_there_is_is_all_there_is(index):
    if index != "exact":
        pytest.importorskip(index)
    vectors = np.eye(3, dtype=np.float32)
    scores, places = nearest(vectors, vectors, 10, index=index)
    assert scores.shape == places.shape == (3, 3)
    assert places[:, 0].tolist() == [0, 1, 2]
    assert nearest(vectors[:0], vectors, 2, index=index)[0].shape == (0, 2)
    assert nearest(vectors, vectors[:0], 2, index=index)[0].shape == (3, 0)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install faiss-cpu"):
        check_index("faiss")
    check_index("exact")
