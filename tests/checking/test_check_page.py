"""check.html: what is on it, how large it may get, and how it looks in Chromium."""

import json
import re

import pytest
from in_browser import NEEDS_BROWSER, VIEW_NAMES, VIEWS, assert_alone, assert_fits, assert_walked_by_keyboard, show
from in_browser import browser as browser
from PIL import Image
from report_samples import SCRIPT

import mmst_cli.checking.check_page as page_module
from mmst_cli.checking.check import CheckOptions, run_check
from mmst_cli.config.rules import load_checked_config


@pytest.fixture(scope="module")
def written(spoilt, tmp_path_factory):
    """The page on the planted faults, with a query and a run that try to be markup."""
    from rich.console import Console

    from mmst_cli.terminal import Terminal

    folder = tmp_path_factory.mktemp("page")
    lines = (spoilt.folder / "train.jsonl").read_text().splitlines()
    row = json.loads(lines[0])
    (spoilt.folder / "hostile.jsonl").write_text("\n".join([*lines, json.dumps({**row, "query": SCRIPT})] * 2) + "\n")
    overrides = [f"datasets.train.path={spoilt.folder / 'hostile.jsonl'}", f"run_name='{SCRIPT}'"]
    with (folder / "log").open("w") as log:
        terminal = Terminal(Console(file=log), json_results=True)
        options = CheckOptions(sample=None, output=folder / "out", workers=1)
        result = run_check(load_checked_config(spoilt.config, overrides), options, terminal)
    return result.output / "check.html", result


def test_it_shows_every_finding_with_the_inputs_side_by_side(written):
    path, result = written
    text = path.read_text()
    assert len(re.findall('<article class="finding">', text)) == len(result.findings)
    assert all(finding.kind in text for finding in result.findings)
    leak = text[text.index("</span> leakage") :]
    first = leak[leak.index("<li>") : leak.index("</li>")]
    assert len(re.findall(r"<img [^>]*data:image/jpeg", first)) == 2
    assert "train.image row" in first
    assert "eval.image row" in first


def test_markup_in_the_data_is_text(written):
    text = written[0].read_text()
    assert SCRIPT not in text
    assert "&lt;script" in text
    assert "<script" not in text


def test_it_stays_small_with_fewer_examples(check, job, tmp_path, monkeypatch):
    noise = [Image.effect_noise((96, 128), 90).convert("RGB") for _ in range(4)]
    for place, image in enumerate(noise):
        image.save(tmp_path / f"{place}.png")
    rows = [{"query": "", "image": f"{place}.png", "other": f"{place}.png"} for place in range(4)]
    config = job({"query": "anchor:text", "image": "positive:image", "other": "negative:image"}, train=rows)
    text = (check(config).output / "check.html").read_text()
    assert text.count("data:image/jpeg") >= 8
    monkeypatch.setattr(page_module, "MAX_BYTES", len(text.encode()) - 20_000)
    smaller = (check(config, overwrite=True).output / "check.html").read_text()
    assert len(smaller) < len(text) - 20_000
    assert 0 < smaller.count("data:image/jpeg") < text.count("data:image/jpeg")


class TestInBrowser:
    pytestmark = NEEDS_BROWSER

    @pytest.fixture(params=VIEWS, ids=VIEW_NAMES)
    def page(self, request, browser, written):
        return show(browser, written[0].as_uri(), *request.param)

    def test_it_is_seen_as_it_should_be(self, page, written):
        assert_fits(page)
        assert SCRIPT in page.execute_script("return document.body.innerText")

    def test_it_needs_nothing_else(self, page, written):
        assert_alone(page, written[0].as_uri())

    def test_it_is_walked_through_by_keyboard(self, page):
        assert_walked_by_keyboard(page)
