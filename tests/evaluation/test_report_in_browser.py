"""The page in Chromium: what a test of its text can't see."""

import pytest
from in_browser import NEEDS_BROWSER, VIEW_NAMES, VIEWS, assert_alone, assert_fits, assert_walked_by_keyboard, show
from in_browser import browser as browser
from report_samples import SCRIPT, hostile_report

from mmst_cli.evaluation.report_page import write_report

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run") / "report.html", hostile_report()).as_uri()


@pytest.fixture(params=VIEWS, ids=VIEW_NAMES)
def page(request, browser, address):
    return show(browser, address, *request.param)


def test_the_page_is_seen_as_it_should_be(page):
    assert_fits(page)
    run = page.execute_script
    charts = run("return [...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width).length")
    assert charts == 2
    small = run("""return [...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)
        .filter(height => height && height < 11)""")
    assert small == []


def test_markup_in_the_data_is_text(page):
    run = page.execute_script
    assert SCRIPT in run("return document.body.innerText")
    assert run("return document.scripts.length") == 0
    assert run("return window.hacked ?? null") is None
    assert run("return document.title").endswith(SCRIPT)


def test_nothing_leaves_the_file_and_nothing_is_complained_about(page, address):
    assert_alone(page, address)


def test_it_is_walked_through_by_keyboard(page):
    assert_walked_by_keyboard(page)
    assert page.execute_script("""return document.querySelectorAll('a, summary, [tabindex="0"]').length""") > 8
