import re
from dataclasses import replace
from itertools import pairwise

import pytest
from html_page import Page
from PIL import Image
from report_samples import QUOTES, SCRIPT, Documents, advice, hostile_report, make_evaluation, training_metrics

from mmst_cli.config.schema import Modality
from mmst_cli.evaluation.query_gallery import build_gallery
from mmst_cli.evaluation.report_page import MAX_BYTES, ReportData, write_report
from mmst_cli.evaluation.report_sections import size_in_words, thumbnail_depth


@pytest.fixture
def page_of(tmp_path):
    return lambda data: Page(write_report(tmp_path / "report.html", data))


def sections(page):
    return [attributes["id"] for attributes in page.all("section")]


def test_sections_come_in_their_order(page_of):
    page = page_of(hostile_report())
    order = ["verdict", "sizes", "training", "gallery", "data", "configuration", "environment"]
    assert sections(page) == order
    assert [a["href"] for a in page.all("a")][1:] == [f"#{name}" for name in order]


def test_a_bare_evaluation_leaves_out_what_it_has_not(page_of):
    evaluation = make_evaluation()
    page = page_of(ReportData("a model", "ndcg@10 is 0.7.", after={"pages": evaluation}))
    assert sections(page) == ["verdict", "sizes"]
    assert "Every size" in page.text
    assert "Before" not in page.text
    assert sections(page_of(ReportData("nothing", "Nothing was evaluated."))) == ["verdict"]


def test_nothing_of_the_data_becomes_markup(page_of):
    page = page_of(hostile_report())
    assert not page.all("script")
    assert not [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)]
    assert page.all("h1") == [{"dir": "auto"}]
    for text in (SCRIPT, QUOTES, "</td></table>", f"{SCRIPT} number"):
        assert text in page.text


def test_nothing_is_fetched(page_of):
    page = page_of(hostile_report())
    for name in ("src", "href", "srcset", "action", "poster", "data", "xlink:href"):
        for _, attributes in page.elements:
            assert (attributes.get(name) or "#").startswith(("data:image/jpeg;base64,", "data:,", "#"))
    written = "".join(attributes.get("style", "") for _, attributes in page.elements)
    assert "url(" not in written
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_style_sheets_name_no_address(tmp_path):
    text = write_report(tmp_path / "report.html", hostile_report()).read_text(encoding="utf-8")
    for sheet in re.findall(r"<style>(.*?)</style>", text, re.DOTALL):
        assert "url(" not in sheet
        assert "@import" not in sheet


def test_it_can_be_heard_and_walked_through(page_of):
    page = page_of(hostile_report())
    tags = [tag for tag, _ in page.elements]
    assert {"header", "nav", "main", "section", "caption"} <= set(tags)
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    images = page.all("img")
    assert images
    assert all(image["alt"] for image in images)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(a["href"][1:] in ids for a in page.all("a"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    scrolls = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in scrolls)


def test_the_right_document_is_named_in_words(page_of):
    data = hostile_report()
    hits = [hit for gallery in data.galleries.values() for i in gallery.items() for f in i.found for hit in f.hits]
    page = page_of(data)
    assert page.text.count("✓ right") == sum(hit.relevant for hit in hits)
    assert sum("the right one" in image["alt"] for image in page.all("img")) == sum(hit.relevant for hit in hits)


def test_the_table_says_before_after_share_bytes_index_and_time(page_of):
    after = make_evaluation(dims=(1024, 16), recommendation=advice())
    before = make_evaluation(dims=(1024,), precisions=("float32",), quality=0.2)
    page = page_of(ReportData("run", "better", after={"pages": after}, before={"pages": before}))
    full, last = after.result.cells[0], after.result.cells[-1]
    row = f"1024 float32 ● {before.result.primary(before.result.full):.4f}"
    assert row in page.text
    low, high = full.interval
    ends = f"{after.result.primary(full):.4f} {low:.4f} to {high:.4f} 100.0% 4,096 4.1 GB 0.250 ms"
    assert ends in page.text
    share = after.result.primary(last) / after.result.primary(full)
    assert f"{share:.1%} 2 2 MB 0.250 ms" in page.text
    assert "Ship 16 dimensions as binary. mmst encode runs/a INPUT" in page.text
    assert "recommended 16 binary" in page.text


def test_evaluators_have_their_own_tables_and_galleries(page_of):
    after = {name: make_evaluation(evaluator=name, seed=seed) for seed, name in enumerate(("pages", "photos"))}
    galleries = {name: build_gallery(e, None, Documents(), compared=None) for name, e in after.items()}
    page = page_of(ReportData("run", "fine", after=after, galleries=galleries))
    labels = [a["aria-label"] for a in page.all("div") if a.get("class") == "scroll"]
    assert {"Table of sizes, pages", "Table of sizes, photos"} <= set(labels)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_odd_results_have_a_page(page_of):
    evaluation = make_evaluation(dims=(64,), precisions=("float32",))
    cell = replace(evaluation.result.full, metrics={"ndcg@10": 0.0}, interval=None, search_ms=None)
    page = page_of(
        ReportData(
            "run",
            "worse",
            after={"pages": replace(evaluation, result=replace(evaluation.result, cells=[cell]))},
            metrics=[{"step": 1, "loss": float("nan")}],
        )
    )
    assert "No loss and no evaluation was logged." in page.text
    assert "Search a query" not in page.text


def test_half_a_surrogate_pair_does_not_stop_it(page_of):
    assert "broken ? text" in page_of(ReportData("run", "broken \ud83d text")).text


def noise():
    return Modality.image, Image.effect_noise((170, 220), 120).resize((1700, 2200), Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def large():
    """2,000 queries and documents that are large images of noise: nothing compresses worse."""
    after = make_evaluation(2000, 2000, dims=(64, 32, 16), recommendation=advice())
    before = make_evaluation(2000, 2000, quality=0.4, seed=1)
    image = noise()
    documents = Documents(2000, query=lambda index: image, document=lambda index: image)
    gallery = build_gallery(after, before, documents, compared="16 binary", per_kind=8)
    return ReportData(
        "run", "better", {"pages": after}, {"pages": before}, metrics=training_metrics(), galleries={"pages": gallery}
    )


def test_the_page_stays_under_5_mb(large, tmp_path):
    path = write_report(tmp_path / "report.html", large)
    assert MAX_BYTES * 0.5 < path.stat().st_size < MAX_BYTES
    page = Page(path)
    assert "are left out, so that the page stays under 5 MB" in page.text
    assert "Thumbnail left out." in page.text
    shown = [image["alt"] for image in page.all("img")]
    assert any("rank 1 " in alt for alt in shown)
    assert not any("rank 5 " in alt for alt in shown)


def test_thumbnails_of_low_ranks_go_first(large):
    galleries = large.galleries
    sizes = [thumbnail_depth(galleries, budget) for budget in (-1, 0, 2_000_000, 4_000_000, 100_000_000)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[1], sizes[-1]) == (-1, -1, 5)


def test_a_gallery_that_cannot_fit_is_left_out(page_of, large, monkeypatch):
    monkeypatch.setattr("mmst_cli.evaluation.report_page.MAX_BYTES", 100_000)
    page = page_of(replace(large, config_yaml="a: 1\n" * 10))
    assert "The gallery is left out" in page.text
    assert not page.all("img")


def test_sizes_are_written_in_decimal_units():
    assert [size_in_words(size) for size in (8, 8e6, 512e6, 8.192e9, 4e12)] == [
        "8 bytes",
        "8 MB",
        "512 MB",
        "8.19 GB",
        "4 TB",
    ]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(scheme, tmp_path):
    text = write_report(tmp_path / "report.html", ReportData("run", "fine")).read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", text.split(":root {")[1 + scheme].split("}")[0]))
    for ground in ("page", "panel"):
        for ink in ("text", "quiet", "accent"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["right"], colours["right-ground"]) >= 4.5
    assert contrast(colours["quiet"], colours["right-ground"]) >= 4.5
