"""Mining beside sentence-transformers' own function, and beside brute force."""

import random
from zlib import crc32

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sentence_transformers.util import mine_hard_negatives

from mmst_cli.config.schema import ColumnConfig, Index, Modality, Role, Sampling
from mmst_cli.errors import ModelError
from mmst_cli.mining import negative_selection
from mmst_cli.mining.second_model import SecondModel
from mmst_cli.model.precision import Precision


@pytest.fixture
def no_guard(monkeypatch):
    """Sentence-transformers knows no near duplicates."""
    monkeypatch.setattr(negative_selection, "is_near", lambda one, other: False)


def by_library(pairs, model, seed=42, **options):
    """Return (anchor, positive) to negatives and scores, as sentence-transformers mines them."""
    random.seed(seed)
    found = mine_hard_negatives(
        Dataset.from_list(pairs), model, output_format="n-tuple", output_scores=True, verbose=False, **options
    )
    negatives = [name for name in found.column_names if name.startswith("negative_")]
    return {(row["query"], row["answer"]): ([row[n] for n in negatives], row["scores"]) for row in found}


def by_us(found, pairs):
    return {
        (pairs[row]["query"], pairs[row]["answer"]): ([pairs[n]["answer"] for n in negatives], scores.tolist())
        for row, negatives, scores in zip(found.kept.tolist(), found.negatives.tolist(), found.scores, strict=True)
    }


def assert_equal(ours, library):
    assert ours.keys() == library.keys()
    for pair, (negatives, scores) in library.items():
        assert ours[pair][1] == pytest.approx(scores, abs=2e-6)
        for one, other, score in zip(ours[pair][0], negatives, scores[1:], strict=True):
            # Of equal scores either may come first.
            assert one == other or sum(abs(score - s) < 2e-6 for s in scores[1:]) > 1 or score == scores[-1]


SETTINGS = st.fixed_dictionaries(
    {"num_negatives": st.integers(1, 4), "range_min": st.integers(0, 3)},
    optional={
        "range_max": st.integers(8, 30),
        # The untrained model finds all texts much alike: most similarities are above 0.9.
        "max_score": st.floats(0.9, 1),
        "min_score": st.floats(0.8, 0.95),
        "absolute_margin": st.floats(-0.1, 0.02),
        "relative_margin": st.floats(0, 0.02),
        "sampling_strategy": st.sampled_from(list(Sampling)),
    },
)


@pytest.mark.usefixtures("no_guard")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=SETTINGS, count=st.integers(2, 60), seed=st.integers(0, 1000))
def test_texts_are_mined_as_sentence_transformers_mines_them(
    chosen, count, seed, text_pairs, text_model, rows_of, mine, tmp_path_factory
):
    pairs = text_pairs(count, seed)
    folder = tmp_path_factory.mktemp("work")
    found = mine(rows_of(pairs), text_model, folder=folder, seed=seed, **chosen)
    options = {**chosen, "sampling_strategy": str(chosen.get("sampling_strategy", "top"))}
    assert_equal(by_us(found, pairs), by_library(pairs, text_model, seed, **options))


@pytest.mark.usefixtures("no_guard")
def test_many_pairs_give_many_negatives(text_pairs, text_model, rows_of, mine):
    pairs = text_pairs(150, 3)
    settings = {"num_negatives": 3, "relative_margin": 0.0, "range_min": 1}
    found = mine(rows_of(pairs), text_model, **settings)
    assert len(found.kept) > 50
    assert_equal(by_us(found, pairs), by_library(pairs, text_model, **settings))


class OverlapScorer:
    """Scores pairs as a CrossEncoder would: by the share of words that both texts have; no two alike."""

    device, dtype = "cpu", torch.float32
    modalities = ("text",)

    def predict(self, pairs, batch_size=32, convert_to_tensor=False, **_):
        shared = [len(set(q.split()) & set(a.split())) / len(set(q.split())) for q, a in pairs]
        scores = [share + crc32(answer.encode()) / 2**32 / 100 for share, (_, answer) in zip(shared, pairs)]  # noqa: B905
        return torch.tensor(scores, dtype=torch.float32) if convert_to_tensor else np.array(scores, dtype=np.float32)


@pytest.mark.usefixtures("no_guard")
@pytest.mark.parametrize("strategy", ["top", "random"])
@pytest.mark.parametrize(
    "limits", [{"min_score": 0.02}, {"relative_margin": 0.2}, {"max_score": 0.4, "absolute_margin": 0.01}]
)
def test_a_cross_encoder_rescores_as_in_sentence_transformers(limits, strategy, text_pairs, text_model, rows_of, mine):
    pairs, cross = text_pairs(80, 5), OverlapScorer()
    second = SecondModel("overlap", Precision(), cross=cross)
    chosen = {"num_negatives": 2, "range_max": 12, **limits}
    found = mine(
        rows_of(pairs), text_model, second=second, second_model="x", sampling_strategy=Sampling(strategy), **chosen
    )
    library = by_library(pairs, text_model, cross_encoder=cross, sampling_strategy=strategy, **chosen)
    assert len(library) > 10
    assert_equal(by_us(found, pairs), library)


@pytest.mark.usefixtures("no_guard")
def test_an_embedding_model_checks_another(text_pairs, text_model, tiny_model, rows_of, mine):
    pairs = text_pairs(60, 7)
    second = SecondModel("other", Precision(), embedding=tiny_model)
    found = mine(rows_of(pairs), text_model, second=second, second_model="x", num_negatives=1, relative_margin=0.0)
    assert len(found.kept) > 5
    queries = tiny_model.encode_query([{"text": p["query"]} for p in pairs], normalize_embeddings=True)
    answers = tiny_model.encode_document([{"text": p["answer"]} for p in pairs], normalize_embeddings=True)
    for row, negative, scores in zip(found.kept, found.negatives[:, 0], found.scores, strict=True):
        assert scores[0] == pytest.approx(float(queries[row] @ answers[row]), abs=1e-5)
        assert scores[1] == pytest.approx(float(queries[row] @ answers[negative]), abs=1e-5)
        own = [i for i, p in enumerate(pairs) if p["query"] == pairs[row]["query"]]
        assert scores[1] <= min(float(queries[row] @ answers[i]) for i in own) + 1e-5


FEATURES = Features({"query": Value("string"), "image": ImageFeature()})


def image_rows(page_rows, encoded, count, seed=0):
    return [{"query": query, "image": {"bytes": encoded(page), "path": None}} for query, page in page_rows(count, seed)]


def test_images_are_mined_as_by_brute_force(page_rows, encoded, rows_of, mine, tiny_model):
    pages = page_rows(60)
    rows = rows_of(image_rows(page_rows, encoded, 60), positive="image", names=("query", "image"), features=FEATURES)
    found = mine(rows, tiny_model, num_negatives=3, relative_margin=0.05, range_min=1)
    queries = tiny_model.encode_query([{"text": query} for query, _ in pages], normalize_embeddings=True)
    images = tiny_model.encode_document([page for _, page in pages], normalize_embeddings=True)
    expected = {}
    for row, scores in enumerate(queries @ images.T):
        bar = scores[row] - abs(scores[row]) * 0.05
        allowed = [i for i in np.argsort(-scores, kind="stable")[:33] if i != row and scores[i] <= bar][1:4]
        if len(allowed) == 3:
            expected[row] = allowed
    assert len(expected) > 5
    mined = dict(zip(found.kept.tolist(), found.negatives.tolist(), strict=True))
    assert mined == expected


def test_either_side_may_be_of_any_modality(page_rows, encoded, rows_of, mine, tiny_model):
    rows = image_rows(page_rows, encoded, 20)
    swapped = rows_of(rows, columns=swapped_columns(), features=FEATURES)
    found = mine(swapped, tiny_model, num_negatives=2)
    assert found.kept.tolist() == list(range(20))
    assert all(row not in own for row, own in enumerate(found.negatives.tolist()))


def swapped_columns():

    return {
        "image": ColumnConfig(role=Role.anchor, modality=Modality.image),
        "query": ColumnConfig(role=Role.positive, modality=Modality.text),
    }


def altered(page, how):
    """A page that shows the same: encoded again, resized, or cut a little."""
    if how == 0:
        return "JPEG", page
    if how == 1:
        return "PNG", page.resize((page.width * 3 // 4, page.height * 3 // 4), Image.Resampling.LANCZOS)
    return "PNG", page.crop((1, 1, page.width - 1, page.height - 1))


@pytest.mark.parametrize("strategy", list(Sampling))
def test_no_near_duplicate_of_a_positive_is_mined(strategy, page_rows, encoded, rows_of, mine, tiny_model):
    pages = page_rows(24)
    rows, family = [], []
    for number, (query, page) in enumerate(pages):
        for how in (None, 0, 1, 2):
            kind, image = ("PNG", page) if how is None else altered(page, how)
            # The copies stand in rows of their own: other queries of the same page.
            words = query if how is None else f"{query} again {how}"
            rows.append({"query": words, "image": {"bytes": encoded(image, kind), "path": None}})
            family.append(number)
    prepared = rows_of(rows, positive="image", names=("query", "image"), features=FEATURES)
    found = mine(prepared, tiny_model, num_negatives=3, sampling_strategy=strategy)
    assert len(found.kept) == len(rows)
    for row, negatives in zip(found.kept.tolist(), found.negatives.tolist(), strict=True):
        assert family[row] not in {family[negative] for negative in negatives}


def test_the_anchor_itself_is_no_negative(text_pairs, text_model, rows_of, mine):
    pairs = [{"query": f"{p['query']} {i}", "answer": p["answer"]} for i, p in enumerate(text_pairs(30, 1))]
    pairs += [{"query": f"other words {i}", "answer": p["query"].upper()} for i, p in enumerate(pairs[:10])]
    found = mine(rows_of(pairs), text_model, num_negatives=3)
    for row, negatives in zip(found.kept.tolist(), found.negatives.tolist(), strict=True):
        assert pairs[row]["query"].upper() not in {pairs[n]["answer"] for n in negatives}


def test_negatives_that_rows_have_are_not_mined_again(text_pairs, text_model, rows_of, mine):

    pairs = text_pairs(40, 2)
    plain = mine(rows_of(pairs), text_model, num_negatives=1)
    first = {int(row): pairs[n]["answer"] for row, n in zip(plain.kept, plain.negatives[:, 0], strict=True)}
    with_negatives = [{**pair, "negative": first.get(row, "nothing")} for row, pair in enumerate(pairs)]
    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "answer": ColumnConfig(role=Role.positive),
        "negative": ColumnConfig(role=Role.negative),
    }
    found = mine(rows_of(with_negatives, columns=columns), text_model, folder="again", num_negatives=2)
    for row, negatives in zip(found.kept.tolist(), found.negatives.tolist(), strict=True):
        assert with_negatives[row]["negative"] not in {pairs[n]["answer"] for n in negatives}


def test_parts_change_nothing(text_pairs, text_model, rows_of, mine):
    rows = rows_of(text_pairs(50, 4))
    whole, in_parts = (mine(rows, text_model, folder=f"parts of {n}", rows_per_part=n) for n in (2000, 7))
    np.testing.assert_array_equal(whole.negatives, in_parts.negatives)
    np.testing.assert_allclose(whole.scores, in_parts.scores, atol=2e-6)


def test_a_similarity_that_cannot_be_searched_is_refused(text_pairs, text_model, rows_of, mine, monkeypatch):

    monkeypatch.setattr(type(text_model), "similarity_fn_name", "manhattan")
    with pytest.raises(ModelError, match="manhattan"):
        mine(rows_of(text_pairs(5)), text_model)


@pytest.mark.usefixtures("no_guard")
def test_euclidean_similarity_is_mined_by(text_pairs, text_model, rows_of, mine, monkeypatch):
    pairs = text_pairs(40, 9)
    monkeypatch.setattr(text_model, "similarity_fn_name", "euclidean")
    try:
        settings = {"num_negatives": 2, "absolute_margin": 0.05}
        assert_equal(
            by_us(mine(rows_of(pairs), text_model, **settings), pairs), by_library(pairs, text_model, **settings)
        )
    finally:
        monkeypatch.undo()
        text_model.similarity_fn_name = "cosine"


@pytest.mark.parametrize("index", list(Index))
def test_every_index_finds_the_same(index, text_pairs, text_model, rows_of, mine):
    if index is not Index.exact:
        pytest.importorskip(str(index))
    rows = rows_of(text_pairs(80, 6))
    exact = mine(rows, text_model, num_negatives=2)
    found = mine(rows, text_model, folder="other", num_negatives=2, index=index)
    np.testing.assert_array_equal(found.kept, exact.kept)
    np.testing.assert_allclose(found.scores, exact.scores, atol=2e-6)
    assert (found.negatives == exact.negatives).mean() > 0.98
