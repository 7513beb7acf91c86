import json
from dataclasses import asdict

import numpy as np
import pytest

from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult
from mmst_cli.evaluation.recommendation import encode_command, recommend

BYTES = {"float32": 32, "float16": 16, "int8": 8, "binary": 1, "binary-rescored": 1}  # bits a dimension


def evaluation(values, model="org/some-model"):
    """Return an evaluation of {(dim, precision): values per query}, the full cell first."""
    cells = [
        Cell(dim, precision, dim * BYTES[precision] // 8, {"ndcg@10": float(np.mean(v))})
        for (dim, precision), v in values.items()
    ]
    queries = len(next(iter(values.values())))
    per_query = {cell.key: np.asarray(v, dtype=float) for cell, v in zip(cells, values.values(), strict=True)}
    result = EvaluationResult("pages", model, queries, queries, "ndcg@10", cells)
    return Evaluation(result, [f"q{i}" for i in range(queries)], per_query)


def spoiled(full, share):
    """Return values of which ``share`` became 0."""
    values = full.copy()
    values[: round(share * len(full))] = 0
    return values


@pytest.fixture
def full():
    return np.random.default_rng(0).permutation(np.resize([1, 1, 1, 1, 1, 1, 1, 0.63, 0.63, 0.43], 1000))


def test_ships_the_smallest_that_is_shown_to_keep_enough(full):
    grid = {
        (128, "float32"): full,
        (128, "int8"): full,
        (64, "float32"): full,
        (64, "int8"): spoiled(full, 0.001),
        (32, "float32"): spoiled(full, 0.05),
        (32, "int8"): spoiled(full, 0.05),
    }
    found = recommend(evaluation(grid))
    assert (found.dim, found.precision, found.bytes_per_vector, found.shown) == (64, "int8", 64, True)
    assert found.saves == 0.875
    assert 0.99 <= found.lower < found.ratio < 1
    assert found.command == "mmst encode org/some-model INPUT --output vectors --dim 64 --precision int8"
    assert found.sentence.startswith(
        "Ship 64 dimensions as int8: 64 bytes a vector, 87.5% less than 512, and shown to keep at least 99.0% of "
        f"ndcg@10 ({spoiled(full, 0.001).mean():.4f} of {full.mean():.4f}; ratio {found.ratio:.4f}, at least 0.99"
    )
    assert found.sentence.endswith("with 95% confidence over 1,000 queries).")
    assert found.candidate is None and found.queries_needed is None
    assert json.loads(json.dumps(asdict(found)))["dim"] == 64


def test_of_cells_of_one_size_the_better_is_shipped(full):
    grid = {(128, "float32"): full, (64, "binary"): spoiled(full, 0.002), (64, "binary-rescored"): full}
    found = recommend(evaluation(grid))
    assert found.precision == "binary-rescored"
    assert found.command.endswith("--dim 64 --precision binary")
    assert "binary, rescored" in found.sentence and "search must rescore" in found.sentence


def test_each_cell_is_judged_by_itself(full):
    grid = {(128, "float32"): full, (64, "float32"): spoiled(full, 0.05), (32, "float32"): full}
    found = recommend(evaluation(grid))
    assert found.shown and (found.dim, found.precision) == (32, "float32")


def test_too_few_queries_name_a_candidate_and_how_many_would_do(full):
    few = full[:60]
    grid = {(128, "float32"): few, (64, "float32"): few, (32, "float32"): few, (16, "float32"): spoiled(few, 0.5)}
    found = recommend(evaluation(grid))
    assert not found.shown
    assert (found.dim, found.precision, found.saves) == (128, "float32", 0)
    assert found.candidate == "32 float32"
    assert found.queries_needed == pytest.approx(2.51 / 0.01 / few.mean(), rel=0.06)
    assert "60 queries are too few to show" in found.sentence
    assert f"about {found.queries_needed:,} queries would settle it" in found.sentence


def test_a_candidate_that_keeps_too_little_so_far_is_called_not_ruled_out(full):
    few = full[:100]
    found = recommend(evaluation({(128, "float32"): few, (64, "float32"): spoiled(few, 0.02)}))
    assert found.candidate == "64 float32"
    assert "64 dimensions as float32 (256 bytes) is not ruled out: ratio 0.9" in found.sentence


def test_one_query_shows_nothing():
    found = recommend(evaluation({(8, "float32"): [1.0], (4, "float32"): [1.0]}))
    assert not found.shown and found.candidate == "4 float32"
    assert found.sentence.startswith("Ship 8 dimensions as float32, 32 bytes a vector: 1 query is too few to show")


def test_where_every_smaller_cell_is_shown_to_keep_too_little(full):
    found = recommend(evaluation({(128, "float32"): full, (64, "float32"): spoiled(full, 0.5)}))
    assert not found.shown and found.candidate is None and found.queries_needed is None
    assert "no smaller size keeps 99.0% of ndcg@10, as 1,000 queries show" in found.sentence
    assert found.command.endswith("--dim 128 --precision float32")


def test_less_is_asked_less_is_shipped(full):
    grid = {(128, "float32"): full, (64, "float32"): spoiled(full, 0.03), (32, "float32"): spoiled(full, 0.15)}
    dims = [recommend(evaluation(grid), keep).dim for keep in (0.99, 0.95, 0.8)]
    assert dims == [128, 64, 32]
    assert "99.75%" in recommend(evaluation(grid), 0.9975).sentence


def test_a_score_of_zero_leaves_nothing_to_keep():
    found = recommend(evaluation({(8, "float32"): np.zeros(50), (4, "float32"): np.zeros(50)}))
    assert (found.shown, found.ratio, found.lower, found.command) == (False, None, None, None)
    assert (
        found.sentence
        == "No size is recommended: ndcg@10 is 0 at 8 dimensions as float32, so there is nothing to keep."
    )
    json.dumps(asdict(found), allow_nan=False)


def test_nothing_to_choose_from(full):
    assert recommend(evaluation({(128, "float32"): full})) is None
    assert recommend(Evaluation(evaluation({(8, "float32"): full, (4, "float32"): full}).result)) is None


def test_the_command_names_the_run_a_model_is_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "my run").mkdir(parents=True)
    cell = Cell(64, "int8", 64, {})
    assert encode_command("runs/my run/model", cell).startswith("mmst encode 'runs/my run/model' ")
    (tmp_path / "runs" / "my run" / "config.yaml").touch()
    assert encode_command("runs/my run/model", cell).startswith("mmst encode 'runs/my run' ")
    assert encode_command("org/model", cell).startswith("mmst encode org/model ")


def shown_of(cells, trials=200):
    rng, wrong = np.random.default_rng(9), 0
    for _ in range(trials):
        full = rng.choice([0, 0.63, 1], size=200, p=[0.1, 0.2, 0.7])
        grid = {(64, "float32"): full}
        for cell in cells:  # every one keeps just under 90%
            grid[cell] = np.where(rng.random(200) < 0.102, 0, full)
        wrong += recommend(evaluation(grid), 0.9).shown
    return wrong / trials


def test_a_cell_that_keeps_too_little_is_seldom_shown():
    assert shown_of([(32, "float32")]) <= 0.05
    assert shown_of([(dim, p) for dim in (32, 16, 8) for p in ("float32", "int8", "binary")]) <= 0.25
