"""Mining beside sentence-transformers' own function, and beside brute force."""

import random

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers.util import mine_hard_negatives

from mmst_cli.config.schema import Sampling
from mmst_cli.mining import guard


@pytest.fixture
def no_guard(monkeypatch):
    """Sentence-transformers knows no near duplicates."""
    monkeypatch.setattr(guard, "is_near", lambda one, other: False)


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
        "max_score": st.floats(0.2, 0.95),
        "min_score": st.floats(-0.5, 0.3),
        "absolute_margin": st.floats(-0.2, 0.3),
        "relative_margin": st.floats(0, 0.5),
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
