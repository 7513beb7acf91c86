"""The page to look at what was mined: its text, and how it is seen in Chromium."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from datasets import Features, Value
from datasets import Image as ImageFeature
from html_page import Page
from PIL import Image

from mmst_cli.config.schema import MineConfig
from mmst_cli.html.rendering import MAX_BYTES
from mmst_cli.mining import contact_sheet
from mmst_cli.mining.contact_sheet import HARDEST, LACKING, SAMPLE, choose_anchors, write_sheet
from mmst_cli.mining.mining_summary import facts_of

SCRIPT = "<script>window.hacked = 1</script>"
LONG = "averyveryverylongwordwithoutanyspace" * 6
FEATURES = Features({"query": Value("string"), "image": ImageFeature()})


@pytest.fixture
def sheet_of(tmp_path):
    """A function that writes the page of what was mined."""

    def write(rows, found, seed=0, **settings):
        path, mine = tmp_path / "mined.html", MineConfig(**settings)
        title = f"Hard negatives {SCRIPT}"
        return write_sheet(path, rows, found, facts_of(found, rows), mine, title=title, model="a/model", seed=seed)

    return write


@pytest.fixture
def pages(page_rows, encoded, rows_of):
    """Rows of pages, some of them near duplicates, with queries that try to be markup."""
    rows = []
    for number, (query, page) in enumerate(page_rows(30)):
        said = [query, SCRIPT, f"{query} {LONG}"][min(number, 2)] if number < 3 else query
        rows.append({"query": said, "image": {"bytes": encoded(page), "path": None}})
        if number < 4:
            rows.append({"query": f"{said} again", "image": {"bytes": encoded(page, "JPEG"), "path": None}})
    return rows_of(rows, positive="image", names=("query", "image"), features=FEATURES)


SETTINGS = {"num_negatives": 7, "relative_margin": 0.0, "range_max": 20}


@pytest.fixture
def mined(pages, mine, tiny_model):
    """What was mined in them, some anchors getting too few."""
    found = mine(pages, tiny_model, **SETTINGS)
    assert 0 < len(found.kept) < len(pages)
    return found


def test_sections_headings_and_alternatives_are_there(pages, mined, sheet_of):
    page = Page(sheet_of(pages, mined, **SETTINGS))
    ids = [attributes["id"] for attributes in page.all("section")]
    assert ids == ["verdict", "hardest", "a-random-sample", "left-out", "settings"]
    assert [a["href"] for a in page.all("a")][1:] == [f"#{name}" for name in ids]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))
    assert page.all("img") and all(image["alt"] for image in page.all("img"))
    assert all(len(a["aria-label"]) for a in page.all("ol"))
    for words in ("relative_margin", "Refused", "✓ positive", "Where too few were left", "2 more negatives"):
        assert words in page.text
    assert "refused for relative_margin" in " ".join(image["alt"] for image in page.all("img"))


def test_markup_in_the_data_is_text_and_nothing_is_fetched(pages, mined, sheet_of):
    path = sheet_of(pages, mined, **SETTINGS)
    page = Page(path)
    assert not page.all("script") and SCRIPT in page.text
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
    for name in ("src", "href", "srcset", "action", "poster"):
        for _, attributes in page.elements:
            assert (attributes.get(name) or "#").startswith(("data:image/jpeg;base64,", "data:,", "#"))
    assert "url(" not in path.read_text() and "@import" not in path.read_text()


def test_near_duplicates_are_told_of(page_rows, encoded, rows_of, mine, tiny_model, sheet_of):
    rows = []
    for query, page in page_rows(6):
        for kind in ("PNG", "JPEG"):
            rows.append({"query": f"{query} {kind}", "image": {"bytes": encoded(page, kind), "path": None}})
    prepared = rows_of(rows, positive="image", names=("query", "image"), features=FEATURES)
    found = mine(prepared, tiny_model, num_negatives=9)
    page = Page(sheet_of(prepared, found, num_negatives=9))
    assert facts_of(found, prepared).refused["near duplicate of a positive"] >= 12
    assert "near duplicate of a positive" in page.text


def test_the_anchors_that_are_shown(text_pairs, text_model, rows_of, mine):
    rows = rows_of(text_pairs(150, 3))
    found = mine(rows, text_model, num_negatives=4, relative_margin=0.005)
    chosen = choose_anchors(found, 1)
    assert choose_anchors(found, 1) == chosen != choose_anchors(found, 2)
    full = found.selection.is_full
    gap = found.selection.scores[:, 0] - found.candidates.positive_scores
    hardest = chosen["Hardest"]
    assert len(hardest) == HARDEST and min(gap[hardest]) >= max(np.delete(gap, hardest)[np.delete(full, hardest)])
    assert len(chosen["A random sample"]) == min(SAMPLE, full.sum() - HARDEST)
    assert full[chosen["A random sample"]].all() and not full[chosen["Left out"]].any()
    assert len(chosen["Left out"]) == min(LACKING, (~full).sum()) > 0


def test_texts_have_a_page_too(text_pairs, text_model, rows_of, mine, sheet_of):
    rows = rows_of(text_pairs(20, 3))
    page = Page(sheet_of(rows, mine(rows, text_model, num_negatives=1), num_negatives=1))
    assert not page.all("img") and "Left out" in page.text and "left-out" not in [a["id"] for a in page.all("section")]


def test_the_page_stays_under_5_mb(pages, mined, sheet_of, monkeypatch):
    noise = Image.effect_noise((2000, 2000), 120).convert("RGB")
    monkeypatch.setattr(type(pages), "value_at", lambda self, column, row: noise if column.name == "image" else "q")
    monkeypatch.setattr(contact_sheet, "MAX_BYTES", 1_000_000)
    path = sheet_of(pages, mined, **SETTINGS)
    assert path.stat().st_size < 1_000_000 < MAX_BYTES
    assert Page(path).all("img")


def test_what_cannot_be_read_is_a_note(pages, mined, sheet_of, monkeypatch):
    def fail(*_):
        raise OSError("gone")

    monkeypatch.setattr(type(pages), "value_at", fail)
    assert "Cannot be shown: OSError." in Page(sheet_of(pages, replace(mined), **SETTINGS)).text
