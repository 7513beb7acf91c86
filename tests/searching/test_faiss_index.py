import importlib.util
import json

import numpy as np
import pytest

from mmst_cli.errors import ConfigError, RunError, WorkError
from mmst_cli.output_claim import claimed
from mmst_cli.searching import faiss_index
from mmst_cli.vectors.vector_folder import open_vectors

faiss = pytest.importorskip("faiss", reason="no faiss: `pip install faiss-cpu`")


def drawn(count, seed=0, dim=24):
    """Vectors in clusters."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(size=(30, dim))
    return (centres[rng.integers(30, size=count)] + 0.5 * rng.normal(size=(count, dim))).astype(np.float32)


def names(found):
    return [[name for name, _ in hits] for hits in found]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary", "binary-rescored"])
@pytest.mark.parametrize("dim", [24, 13])
def test_a_small_collection_is_searched_as_without_it(dim, precision, similarity, store, look_for):
    folder = store(drawn(300), similarity=similarity, rows=64)
    options = {"precision": precision, "dim": dim, "top": 300 if precision == "binary-rescored" else 5}
    exact, found = (look_for(folder, drawn(6, 1), **options, index=index) for index in ("exact", "faiss"))
    if precision == "binary":  # of those that are tied with the last any may be taken
        assert [[score for _, score in hits] for hits in found] == [[score for _, score in hits] for hits in exact]
        return
    assert names(found) == names(exact)
    scores = [[[score for _, score in hits] for hits in way] for way in (found, exact)]
    np.testing.assert_allclose(*scores, atol=2e-3 if similarity == "euclidean" else 2e-4, rtol=1e-4)


def test_a_large_one_is_searched_in_its_nearest_lists(store, look_for, monkeypatch):
    monkeypatch.setattr(faiss_index, "FLAT", 100)
    folder, queries = store(drawn(5000), rows=999), drawn(50, 1)
    exact, found = (look_for(folder, queries, index=index) for index in ("exact", "faiss"))
    right = sum(len(set(a) & set(b)) for a, b in zip(names(exact), names(found), strict=True))
    assert right / 500 > 0.8
    assert faiss.read_index(str(folder.path / "_index-24-float32.faiss")).nlist == 70
    assert [len(hits) for hits in look_for(folder, queries[:3], index="faiss", top=3000)] == [3000] * 3


def test_it_is_built_once_and_again_when_the_vectors_change(store, look_for, monkeypatch, quiet):
    built = []
    build = faiss_index._build
    monkeypatch.setattr(faiss_index, "_build", lambda *given: built.append(given[0].precision) or build(*given))
    queries = drawn(4, 1)

    def search(**options):
        return look_for(open_vectors(folder.path), queries, index="faiss", **options)

    folder = store(drawn(100))
    first = search()
    assert search() == first
    assert built == ["float32"]
    search(precision="binary"), search(precision="binary-rescored"), search(dim=5)
    assert built == ["float32", "binary", "float32"]
    (folder.path / "_index-24-float32.faiss").write_bytes(b"no index")
    assert search() == first
    assert "_index-24-float32.faiss: it can't be read, and is built again" in quiet.shown.getvalue()
    assert len(built) == 4
    other = store(drawn(100, 5))
    assert search() == look_for(other, queries, index="faiss") != first
    assert len(built) == 5
    manifest = folder.path / "_manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"similarity": "dot"}))
    assert names(search()) == names(look_for(open_vectors(folder.path), queries))


def test_broken_vectors_do_not_shift_the_others(store, look_for, spoil):
    folder = spoil(store(drawn(100)), 2, [1])
    for precision in ("float32", "binary-rescored"):
        options = {"top": 99, "precision": precision}
        exact, found = (look_for(folder, drawn(3, 1), index=index, **options) for index in ("exact", "faiss"))
        assert names(found) == names(exact)
        assert "015" not in names(found)[0] and len(found[0]) == 99


def test_encode_replaces_it_with_the_vectors(store, look_for, quiet, tmp_path, tiny_model_path):
    from mmst_cli.encoding.encode import run_encode

    folder = store(drawn(20), name="out")
    look_for(folder, drawn(1), index="faiss")
    assert list(folder.path.glob("_index-*"))
    (tmp_path / "texts.txt").write_text("a page\nanother")
    run_encode(str(tiny_model_path), [str(tmp_path / "texts.txt")], folder.path, overwrite=True, terminal=quiet)
    assert not list(folder.path.glob("_index-*"))
    look_for(open_vectors(folder.path), np.ones((1, 128)), index="faiss")
    run_encode(str(tiny_model_path), [str(tmp_path / "texts.txt")], folder.path, resume=True, terminal=quiet)
    assert not list(folder.path.glob("_index-*"))


def test_what_it_can_not_do_is_said(store, look_for, monkeypatch):
    with pytest.raises(ConfigError, match=r"--index faiss: it has no manhattan similarity"):
        look_for(store(drawn(20), similarity="manhattan"), drawn(1), index="faiss")
    folder = store(drawn(20))
    with claimed(folder.path, "--output"), pytest.raises(RunError, match=r"VECTORS: .* is in use by"):
        look_for(folder, drawn(1), index="faiss")
    monkeypatch.setattr(faiss, "write_index", lambda index, path: faiss.FileIOWriter(f"{path}/not/there"))
    with pytest.raises(WorkError, match=r"the index can't be written: .*No such file"):
        look_for(folder, drawn(1), index="faiss")
    assert not list(folder.path.glob("*_index-*"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"index: faiss: the package is missing. `pip install faiss-cpu`"):
        look_for(folder, drawn(1), index="faiss")
