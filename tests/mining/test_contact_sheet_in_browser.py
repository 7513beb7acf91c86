"""The contact sheet in Chromium: what a test of its text can't see."""

import pytest
from datasets import Features, Value
from datasets import Image as ImageFeature
from in_browser import NEEDS_BROWSER, VIEW_NAMES, VIEWS, assert_alone, assert_fits, assert_walked_by_keyboard, show
from in_browser import browser as browser

from mmst_cli.config.schema import MineConfig
from mmst_cli.mining.contact_sheet import write_sheet
from mmst_cli.mining.mining_summary import facts_of

SCRIPT = "<script>window.hacked = 1</script>"
LONG = "averyveryverylongwordwithoutanyspace" * 6

pytestmark = NEEDS_BROWSER


@pytest.fixture
def address(page_rows, encoded, rows_of, mine, tiny_model, text_pairs, text_model, tmp_path, kind):
    """A page of images, or of texts, with words that try to be markup or don't fit."""
    if kind == "images":
        rows = [{"query": q, "image": {"bytes": encoded(p), "path": None}} for q, p in page_rows(24)]
        features = Features({"query": Value("string"), "image": ImageFeature()})
        rows[0]["query"], rows[1]["query"] = SCRIPT, LONG
        prepared = rows_of(rows, positive="image", names=("query", "image"), features=features)
        model = tiny_model
    else:
        rows = text_pairs(24, 3)
        rows[0] |= {"query": SCRIPT, "answer": LONG}
        prepared, model = rows_of(rows), text_model
    found = mine(prepared, model, num_negatives=5, relative_margin=0.0)
    settings = MineConfig(num_negatives=5, relative_margin=0.0)
    title = f"Hard negatives {SCRIPT}"
    path = tmp_path / "mined.html"
    return write_sheet(
        path, prepared, found, facts_of(found, prepared), settings, title=title, model=LONG, seed=0
    ).as_uri()


@pytest.mark.parametrize("kind", ["images", "texts"])
@pytest.mark.parametrize("view", VIEWS, ids=VIEW_NAMES)
def test_the_page_is_seen_as_it_should_be(view, kind, browser, address):
    page = show(browser, address, *view)
    assert_fits(page, with_images=kind == "images")
    assert_alone(page, address)
    assert_walked_by_keyboard(page)
    assert page.execute_script("return window.hacked ?? null") is None
