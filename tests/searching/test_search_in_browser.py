"""The page of a search in Chromium: what a test of its text can't see."""

import pytest
from in_browser import NEEDS_BROWSER, VIEW_NAMES, VIEWS, assert_alone, assert_fits, show
from in_browser import browser as browser

from mmst_cli.encoding.encode import run_encode
from mmst_cli.searching.search import run_search

SCRIPT = "<script>window.hacked = 1</script>"
LONG = "averyveryverylongwordwithoutanyspace" * 6

pytestmark = NEEDS_BROWSER


@pytest.fixture
def address(tmp_path, monkeypatch, pages, tiny_model_path, quiet, kind):
    """A page of images, or of texts, with words that try to be markup or don't fit."""
    monkeypatch.chdir(tmp_path)
    for number, page in enumerate(pages):
        page.save(tmp_path / f"{number}{LONG[:80] if number == 0 else ''}.png")
    (tmp_path / "texts.txt").write_text("\n".join([SCRIPT, LONG, *(f"text {number}" for number in range(5))]))
    inputs = ["texts.txt"] if kind == "texts" else [str(path) for path in sorted(tmp_path.glob("*.png"))]
    run_encode(str(tiny_model_path), inputs, tmp_path / "vectors", terminal=quiet)
    queries = [SCRIPT, LONG] if kind == "texts" else [SCRIPT, LONG, "1.png"]
    run_search(tmp_path / "vectors", queries, page=tmp_path / "page.html", terminal=quiet)
    return (tmp_path / "page.html").as_uri()


@pytest.mark.parametrize("kind", ["images", "texts"])
@pytest.mark.parametrize("view", VIEWS, ids=VIEW_NAMES)
def test_the_page_is_seen_as_it_should_be(view, kind, browser, address):
    page = show(browser, address, *view)
    assert_fits(page, with_images=kind == "images")
    assert_alone(page, address)
    assert page.execute_script("return window.hacked ?? null") is None
