import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import SCRIPT, advice, make_evaluation, training_metrics

from mmst_cli.evaluation.evaluation_results import Cell, EvaluationResult, advised_cells, cell_to_compare, pareto_front
from mmst_cli.evaluation.loss_chart import loss_chart
from mmst_cli.evaluation.quality_chart import quality_chart
from mmst_cli.evaluation.svg_figures import CHART_CSS, save_svg

SVG = "{http://www.w3.org/2000/svg}"


def result_of(*cells, **about):
    """A result of (dimension, precision, bytes, score) cells."""
    made = [Cell(dim, precision, size, {"ndcg@10": score}) for dim, precision, size, score in cells]
    return EvaluationResult("pages", "model", 10, 10, "ndcg@10", made, **about)


def parse(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root[0].tag == f"{SVG}title"
    assert root[1].tag == f"{SVG}desc"
    assert "nan" not in svg.lower()
    return root


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def tooltips(root):
    return [element.text for element in root.iter(f"{SVG}title")][1:]


sizes_and_scores = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=12)


@given(sizes_and_scores)
def test_the_front_is_what_nothing_of_its_size_or_less_equals(drawn):
    cells = [(index + 1, "int8", 2**size, score / 5) for index, (size, score) in enumerate(drawn)]
    result = result_of(*cells)
    front = pareto_front(result)
    for cell in result.cells:
        beaten = [
            other
            for other in result.cells
            if other.bytes_per_vector <= cell.bytes_per_vector
            and result.primary(other) >= result.primary(cell)
            and (other.bytes_per_vector, result.primary(other)) != (cell.bytes_per_vector, result.primary(cell))
        ]
        values = {(c.bytes_per_vector, result.primary(c)) for c in front}
        assert ((cell.bytes_per_vector, result.primary(cell)) in values) == (not beaten)
    assert [c.bytes_per_vector for c in front] == sorted({c.bytes_per_vector for c in front})


def test_the_front_leaves_out_scores_that_are_not_numbers():
    assert [c.dim for c in pareto_front(result_of((8, "float32", 32, math.nan), (4, "float32", 16, 0.5)))] == [4]


def test_every_cell_is_drawn_with_its_interval_in_words():
    after, before = make_evaluation().result, make_evaluation(quality=0.75, seed=3).result
    root = parse(quality_chart(after, before))
    assert len(set(tooltips(root))) == len(after.cells) + len(before.cells)
    cell = after.cells[1]
    low, high = cell.interval
    said = f"{cell.key}: ndcg@10 {after.primary(cell):.4f} (95% interval {low:.4f} to {high:.4f}), 8 bytes"
    assert said in tooltips(root)
    assert "before training" in texts(root)
    assert "bytes per vector" in texts(root)


def test_cells_far_below_do_not_squeeze_those_to_choose_from():
    near = [(dim, "float32", 4 * dim, 0.9 + dim / 10_000) for dim in (64, 32, 16)]
    before = result_of((64, "float32", 256, 0.01))
    root = parse(quality_chart(result_of(*near), before))
    assert {"ndcg@10, near the best", "All, 10 queries"} <= set(texts(root))
    assert len(tooltips(root)) == 2 * 3 + 1
    root = parse(quality_chart(result_of(*near), None))
    assert "ndcg@10, 10 queries" in texts(root)


def test_the_recommendation_has_a_ring_and_a_line():
    shown = make_evaluation(recommendation=advice()).result
    root = parse(quality_chart(shown))
    assert "recommended: 16 binary" in texts(root)
    assert "99% of the full score" in texts(root)
    unsure = make_evaluation(recommendation=advice(64, "float32", shown=False, candidate="16 float32")).result
    assert advised_cells(unsure) == {"64 float32": "recommended", "16 float32": "may be enough"}
    assert cell_to_compare(unsure) == "16 float32"
    assert "may be enough: 16 float32" in texts(parse(quality_chart(unsure)))
    assert cell_to_compare(make_evaluation(recommendation=advice(64, "float32")).result) is None
    assert advised_cells(make_evaluation(recommendation=advice(command=None)).result) == {}


@pytest.mark.parametrize(
    "cells",
    [
        [(64, "float32", 256, 0.5)],
        [(64, "float32", 256, 0.0), (32, "float32", 128, 0.0)],
        [(64, "float32", 256, 1.0), (64, "int8", 64, math.nan)],
        [(64, "float32", 256, -0.3), (64, "fp4", 32, 2.5)],
        [(64, "float32", 256, math.nan)],
    ],
    ids=["one cell", "all zero", "a missing score", "no share", "nothing finite"],
)
@pytest.mark.parametrize("width", [760, 340])
def test_odd_results_are_drawn(cells, width):
    root = parse(quality_chart(result_of(*cells), result_of(*cells), width=width))
    assert root.get("width") == str(width)


def test_an_interval_that_is_missing_or_not_finite_is_left_out():
    result = make_evaluation().result
    first, second, *rest = result.cells
    cells = [replace(first, interval=None), replace(second, interval=(math.nan, math.nan)), *rest]
    said = tooltips(parse(quality_chart(replace(result, cells=cells))))
    assert sum("95% interval" in words for words in said) == len(rest)


def test_names_are_shown_as_text():
    svg = quality_chart(replace(make_evaluation().result, evaluator=f"{SCRIPT}\x00\ud800"))
    assert "<script" not in svg
    assert SCRIPT in parse(svg)[0].text


def test_losses_and_evaluations_are_drawn():
    metrics = training_metrics()
    root = parse(loss_chart(metrics, {"pages": "ndcg@10"}))
    assert {"Training loss", "Training loss by dimension", "Evaluation: ndcg@10"} <= set(texts(root))
    assert "pages: 0.8000 at step 30" in tooltips(root)
    assert "loss from 10 to 0.3333" in root[1].text
    assert "pages: ndcg@10 from 0.02 to 0.8" in parse(loss_chart(metrics))[1].text


def test_a_primary_metric_of_any_evaluator_is_found_at_its_full_dimension():
    metrics = [{"step": 5, "eval_pairs_cosine_accuracy": 0.9, "eval_pairs_dim_16_cosine_accuracy": 0.1}]
    assert (
        "pairs: cosine_accuracy from 0.9 to 0.9"
        in parse(loss_chart(metrics, {"pairs": "cosine_accuracy", "absent": "x"}))[1].text
    )


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [{}],
        [{"step": 1}],
        [{"step": 1, "loss": math.nan}],
        [{"step": 1, "loss": math.inf}, {"step": 2, "loss": 1.0}],
        [{"step": 3, "loss": 0.0}],
        [{"step": 1, "loss": "high", "loss_per_dim": None}],
        [{"step": 1, "loss": -4.0}, {"step": 2, "loss": -4.0}],
    ],
)
def test_odd_metrics_are_drawn(metrics):
    parse(loss_chart(metrics))


def test_a_long_run_stays_a_small_figure():
    metrics = [{"step": step, "loss": 1 / (1 + step)} for step in range(100_000)]
    svg = loss_chart(metrics)
    parse(svg)
    assert len(svg) < 20_000


def test_a_file_of_its_own_has_its_colours(tmp_path):
    path = save_svg(tmp_path / "eval" / "pages.svg", quality_chart(make_evaluation().result))
    text = path.read_text(encoding="utf-8")
    root = parse(text)
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("width", [760, 340])
def test_bytes_are_marked_at_powers_of_two(width):
    cells = [(dim, "float32", 4 * dim, 0.5) for dim in (768, 384, 96)]
    marks = ["512", "1 Ki", "2 Ki"]
    assert set(marks) <= set(texts(parse(quality_chart(result_of(*cells), width=width))))


def test_figures_of_one_page_share_no_id():
    result = make_evaluation().result
    drawn = [quality_chart(result), quality_chart(result, width=340), loss_chart(training_metrics())]
    named = [element.get("id") for svg in drawn for element in parse(svg).iter() if element.get("id")]
    assert named
    assert len(named) == len(set(named))
    referred = [element.get("href", "")[1:] for svg in drawn for element in parse(svg).iter(f"{SVG}use")]
    assert set(referred) <= set(named)


def test_the_same_figures_are_drawn_again_whatever_the_user_has_set():
    first = quality_chart(make_evaluation().result), loss_chart(training_metrics())
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert (quality_chart(make_evaluation().result), loss_chart(training_metrics())) == first


def test_every_colour_has_one_for_the_dark():
    figures = quality_chart(make_evaluation().result, make_evaluation().result) + loss_chart(training_metrics())
    colours = set(re.findall(r'(?:fill|stroke)="(#\w+)"', figures))
    assert len(colours) > 5
    assert not [colour for colour in colours if f'[fill="{colour}"]' not in CHART_CSS]
    assert "style=" not in figures


def test_matplotlib_is_loaded_only_to_draw():
    code = "import sys, mmst_cli.evaluation.report_sections; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
