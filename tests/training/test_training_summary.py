import numpy as np
import pytest

from mmst_cli.evaluation.comparison import verdict
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult
from mmst_cli.training.training_summary import comparison_rows


def result(scores, per_query=()):
    cells = [Cell(dim, "float32", 4 * dim, {"ndcg@10": score}) for dim, score in scores.items()]
    found = EvaluationResult("pages", "m", len(per_query), 4, "ndcg@10", cells)
    values = {found.full.key: np.array(per_query)} if len(per_query) else {}
    return Evaluation(found, [f"q{i}" for i in range(len(per_query))], values)


def test_rows_show_before_after_and_the_share_of_the_full_dimension():
    rows = comparison_rows(result({128: 0.2}), result({128: 0.8, 8: 0.6}))
    assert [(row["dim"], row["before"], row["after"]) for row in rows] == [(128, 0.2, 0.8), (8, None, 0.6)]
    assert [row["share_of_full"] for row in rows] == pytest.approx([1.0, 0.75])


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ([0.1, 0.2, 0.1, 0.2], [0.9, 0.8, 0.9, 0.8], "better than before"),
        ([0.9, 0.8, 0.9, 0.8], [0.1, 0.2, 0.1, 0.2], "worse than before"),
        ([0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.2], "no different from before"),
        ([0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], "no different from before"),
    ],
)
def test_the_verdict_goes_by_the_paired_interval(before, after, word):
    before, after = before * 10, after * 10
    old, new = sum(before) / 40, sum(after) / 40
    sentence = verdict({"pages": result({128: old}, before)}, {"pages": result({128: new}, after)})
    assert word in sentence
    assert f"{old:.4f} before, {new:.4f} after" in sentence


def test_without_a_baseline_or_queries_it_says_so():
    assert verdict({}, {"pages": result({128: 0.5})}) == "pages: ndcg@10 at 128 dimensions is 0.5000."
    assert "no interval" in verdict({"pages": result({128: 0.4})}, {"pages": result({128: 0.5})})
