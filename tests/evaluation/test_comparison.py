import io
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.console import Console

from mmst_cli.errors import ConfigError, RunError
from mmst_cli.evaluation.comparison import compare_evaluations, load_comparable, verdict
from mmst_cli.evaluation.evaluation_output import comparison_tables
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, load_evaluation, save_evaluation
from mmst_cli.evaluation.query_pairing import name_answers
from mmst_cli.vectors.ranking import relevance


def evaluation(values, ids=None, metric="ndcg@10", corpus=200):
    """Return an evaluation of {(dim, precision): values per query}, the full cell first."""
    cells = [Cell(dim, precision, dim, {metric: float(np.mean(v))}) for (dim, precision), v in values.items()]
    queries = len(next(iter(values.values())))
    per_query = {cell.key: np.asarray(v, dtype=float) for cell, v in zip(cells, values.values(), strict=True)}
    result = EvaluationResult("pages", "org/m", queries, corpus, metric, cells)
    return Evaluation(result, ids or [f"q{i}" for i in range(queries)], per_query)


@pytest.fixture
def good():
    return np.random.default_rng(0).choice([0.43, 0.63, 1], size=200, p=[0.1, 0.2, 0.7])


@pytest.fixture
def bad(good):
    values = good.copy()
    values[:40] = 0
    return values


def text_of(comparison, width):
    console = Console(file=io.StringIO(), width=width)
    for table in comparison_tables(comparison):
        console.print(table, markup=False)
    return console.file.getvalue()


def test_says_which_is_better_and_how_sure_that_is(good, bad):
    a = evaluation({(64, "float32"): good, (64, "int8"): good, (32, "float32"): good})
    b = evaluation({(64, "float32"): bad, (32, "float32"): good, (16, "float32"): good})
    found = compare_evaluations(a, b, "runs/a", "runs/b")
    assert [(cell.dim, cell.precision) for cell in found.cells] == [(64, "float32"), (32, "float32")]
    first, second = found.cells
    assert (first.a, first.b) == (pytest.approx(good.mean()), pytest.approx(bad.mean()))
    assert first.difference == pytest.approx(good.mean() - bad.mean())
    assert first.interval[0] < first.difference < first.interval[1]
    assert first.p == pytest.approx(1 / 10_001) and first.p_holm == pytest.approx(2 / 10_001)
    assert second.p == second.p_holm == 1
    assert found.verdict.startswith("runs/a is better than runs/b at 64 dimensions in float32 (ndcg@10 ")
    assert found.verdict.endswith("of all 2 cells it is better in 1 and worse in 0.")
    swapped = compare_evaluations(b, a, "runs/b", "runs/a")
    assert "runs/b is worse than runs/a" in swapped.verdict
    assert swapped.cells[0].difference == pytest.approx(-first.difference)
    assert json.loads(json.dumps(asdict(found)))["queries"] == 200


def test_says_so_where_nothing_shows(good):
    other = np.roll(good, 1)
    found = compare_evaluations(evaluation({(64, "float32"): good}), evaluation({(64, "float32"): other}), "A", "B")
    assert found.verdict.startswith(
        "A is no different from B at 64 dimensions in float32, as far as these queries show"
    )
    same = compare_evaluations(evaluation({(64, "float32"): good}), evaluation({(64, "float32"): good}), "A", "B")
    assert same.cells[0].p == 1 and not same.gained and not same.lost
    assert same.cells[0].interval[0] < 0 < same.cells[0].interval[1]


def test_queries_are_matched_by_id(good, bad):
    order = np.random.default_rng(1).permutation(200)
    a = evaluation({(64, "float32"): good})
    b = evaluation({(64, "float32"): bad[order]}, ids=[f"q{i}" for i in order])
    straight = compare_evaluations(a, evaluation({(64, "float32"): bad}), "A", "B")
    assert compare_evaluations(a, b, "A", "B") == straight


def test_names_the_queries_that_moved_most():
    ours = np.array([1, 1, 0, 0.5, 0.2, 0.9, 1, 1, 1])
    theirs = np.array([0, 0.5, 1, 0.6, 0.2, 0.8, 0.9, 0.9, 0.9])
    a, b = evaluation({(8, "float32"): ours}), evaluation({(8, "float32"): theirs})
    found = compare_evaluations(a, b, "A", "B", text_of={"q0": "where is [bold]it[/bold]?"}.get)
    assert [moved.query for moved in found.gained] == ["q0", "q1", "q5", "q6", "q7"]
    assert [(moved.query, moved.a, moved.b) for moved in found.lost] == [("q2", 0, 1), ("q3", 0.5, 0.6)]
    assert found.gained[0].text == "where is [bold]it[/bold]?" and found.gained[1].text is None
    assert "q0: where is [bold]it[/bold]?" in text_of(found, 80)


@pytest.mark.parametrize("width", [80, 160])
def test_reads_well(good, bad, width):
    grid = [(2048, "float32"), (2048, "binary-rescored"), (512, "int8")]
    a, b = (evaluation(dict.fromkeys(grid, values)) for values in (bad, good))
    name = "runs/Qwen3-VL-Embedding-2B-vdr[1]"
    texts = {f"q{i}": "a long question about revenue " * 9 for i in range(200)}
    shown = text_of(compare_evaluations(a, b, name, "Qwen/Qwen3-VL-Embedding-2B", texts.get), width)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    row = next(line for line in lines if "binary-rescored" in line and "2048" in line)
    assert row.split()[:4] == ["2048", "binary-rescored", f"{bad.mean():.4f}", f"{good.mean():.4f}"]
    assert row.split()[-2:] == ["<0.001", "<0.001"]
    assert sum("..." in line or "…" in line for line in lines) >= (5 if width == 80 else 0)
    assert shown.count("[1]") == 2  # in the title and the verdict
    moved = next(line for line in lines if "a long question" in line)
    assert [len(figure) for figure in moved.split()[-3:]] == [6, 6, 7]


def refused(a, b):
    with pytest.raises(ConfigError) as caught:
        compare_evaluations(a, b, "A", "B")
    assert len(caught.value.faults) == 1
    return str(caught.value)


def test_what_can_not_be_compared_is_refused(good):
    a = evaluation({(64, "float32"): good})
    other = evaluation({(64, "float32"): good}, ids=[f"q{i}" for i in range(195)] + [f"x{i}" for i in range(5)])
    assert refused(a, other).startswith(
        "--compare: the queries differ: A has 200, 5 (q195, q196, q197, ...) of its own; "
        "B has 200, 5 (x0, x1, x2, ...) of its own."
    )
    assert "B has 150, none of its own" in refused(a, evaluation({(64, "float32"): good[:150]}))
    assert "A was measured by ndcg@10, B by mrr@10" in refused(a, evaluation({(64, "float32"): good}, metric="mrr@10"))
    assert "A was searched for among 200 documents, B among 90" in refused(
        a, evaluation({(64, "float32"): good}, corpus=90)
    )
    assert "A has 64 float32; B 32 float32" in refused(a, evaluation({(32, "float32"): good}))
    assert "B has no values per query" in refused(a, Evaluation(a.result))


def test_what_was_saved_is_found(tmp_path, good):
    a = evaluation({(64, "float32"): good})
    run = tmp_path / "run"
    (run / "eval").mkdir(parents=True)
    (run / "config.yaml").touch()
    saved = save_evaluation(a, run / "eval")
    save_evaluation(replace(a, result=replace(a.result, corpus=3)), run / "eval", ".before")
    for path in (run, saved):
        loaded = load_comparable(str(path), "pages")
        assert loaded.result.corpus == 200
        assert compare_evaluations(a, loaded, "A", "B").cells[0].difference == 0
    assert load_comparable(str(run), "another") is None
    assert load_comparable("org/model", "pages") is None
    with pytest.raises(RunError):
        load_comparable(str(tmp_path / "gone.json"), "pages")


def asking(found, contents):
    return replace(found, contents=list(contents))


def test_queries_are_paired_by_what_they_ask_and_not_by_their_row(good):
    cell = {(64, "float32"): good}
    easy = asking(evaluation(cell), [f"easy {i}" for i in range(200)])
    hard = asking(evaluation(cell), [f"hard {i}" for i in range(200)])
    assert "the queries differ: A has 200, 200 (q0, q1, q2, ...) of its own; B has 200, 200" in refused(easy, hard)
    some = asking(evaluation(cell), [f"easy {i}" for i in range(199)] + ["hard 199"])
    assert "A has 200, 1 (q199) of its own; B has 200, 1 (q199)" in refused(easy, some)
    turned = asking(evaluation({(64, "float32"): good[::-1]}), easy.contents[::-1])
    found = compare_evaluations(easy, turned, "A", "B")
    assert found.cells[0].difference == 0 and found.gained == found.lost == [] and found.note is None


def test_judgements_that_ask_the_same_twice_are_paired_by_their_ids(good):
    contents = [f"easy {i // 2}" for i in range(200)]
    one = asking(evaluation({(64, "float32"): good}), contents)
    order = np.random.default_rng(1).permutation(200)
    other = evaluation({(64, "float32"): good[order]}, ids=[f"q{i}" for i in order])
    other = asking(other, [contents[i] for i in order])
    assert compare_evaluations(one, other, "A", "B").gained == []


def test_files_of_an_earlier_version_are_compared_with_a_word_about_it(tmp_path, good):
    new = asking(evaluation({(64, "float32"): good}), [f"easy {i}" for i in range(200)])
    assert load_comparable(str(save_evaluation(new, tmp_path / "new")), "pages").contents == new.contents
    old = load_comparable(str(save_evaluation(replace(new, contents=[]), tmp_path / "old")), "pages")
    assert old.contents == [] and list(old.per_query) == ["64 float32"]
    judged = replace(new, answers=new.contents[::-1])
    loaded = load_comparable(str(save_evaluation(judged, tmp_path / "judged")), "pages")
    assert loaded.answers == judged.answers and list(loaded.per_query) == ["64 float32"]
    found = compare_evaluations(new, old, "A", "B")
    assert "they were paired by row or id" in found.note
    assert found.note[:40] in text_of(found, 200)


def test_a_metric_that_is_not_defined_is_not_compared(tmp_path, good):
    found = evaluation({(64, "float32"): good})
    cells = [replace(found.result.cells[0], metrics={"ndcg@10": float("nan"), "mrr@10": 0.5}, interval=None)]
    undefined = Evaluation(replace(found.result, cells=cells))
    saved = load_evaluation(save_evaluation(undefined, tmp_path))
    assert np.isnan(saved.result.full.metrics["ndcg@10"]) and saved.result.full.metrics["mrr@10"] == 0.5
    assert "can't be compared with before (0." in verdict({"pages": found}, {"pages": saved})


def test_what_was_before_training_is_not_that_of_other_data(good, bad):
    before = asking(evaluation({(64, "float32"): bad}), [f"easy {i}" for i in range(200)])
    after = evaluation({(64, "float32"): good})
    assert "95% interval" in verdict({"pages": before}, {"pages": asking(after, before.contents)})
    assert "measured on other queries" in verdict({"pages": before}, {"pages": asking(after, ["hard"] * 200)})


def test_the_same_queries_judged_otherwise_are_refused(good):
    one = replace(asking(evaluation({(64, "float32"): good}), map(str, range(200))), answers=["a"] * 200)
    turned = replace(asking(evaluation({(64, "float32"): good[::-1]}), one.contents[::-1]), answers=["a"] * 200)
    assert compare_evaluations(one, turned, "A", "B").cells[0].difference == 0
    other = replace(turned, answers=["a"] * 199 + ["b"])
    with pytest.raises(ConfigError, match=r"have the same queries, but 1 \(q0\) of them have other answers"):
        compare_evaluations(one, other, "A", "B")


def test_answers_are_named_by_content_and_grade():
    ids = ["d0", "d1", "d2"]

    def named(documents, relevant):
        return name_answers(relevance(["q0", "q1"], ids, relevant), documents)

    judged = {"q0": {"d0": 1, "d1": 2}, "q1": {"d2": 1}}
    first = named([b"a", b"b", b"c"], judged)
    assert named([b"b", b"a", b"c"], {"q0": {"d1": 1, "d0": 2}, "q1": {"d2": 1}}) == first  # in another order
    regraded = named([b"a", b"b", b"c"], {**judged, "q0": {"d0": 1, "d1": 1}})
    assert regraded[0] != first[0] and regraded[1] == first[1]
    assert all(one != another for one, another in zip(named([b"a", b"b", b"x"], judged), first, strict=True))
