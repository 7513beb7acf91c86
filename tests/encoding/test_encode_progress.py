import io

import pytest
from rich.console import Console

from mmst_cli.encoding import progress as progress_module
from mmst_cli.encoding.progress import show_progress
from mmst_cli.terminal import Terminal


@pytest.mark.parametrize(("total", "words"), [(10, "6 of 10 inputs"), (None, "6 inputs")])
def test_plain_lines_where_nobody_watches(total, words, monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(progress_module, "LINE_EVERY", 0)
    with show_progress(Terminal(Console(file=said)), total, done=2) as progress:
        progress.advance(4)
    assert said.getvalue().startswith(words)
    assert ("time left" in said.getvalue()) == (total is not None)


def test_plain_lines_are_seldom():
    said = io.StringIO()
    with show_progress(Terminal(Console(file=said)), 10, done=0) as progress:
        for _ in range(10):
            progress.advance(1)
    assert said.getvalue() == ""


@pytest.mark.parametrize(("total", "words"), [(10, "6/10"), (None, "6/?")])
def test_a_bar_for_a_person(total, words):
    said = io.StringIO()
    with show_progress(Terminal(Console(file=said, force_terminal=True, width=80)), total, done=2) as progress:
        progress.advance(4)
    assert words in said.getvalue()
    assert "/s" in said.getvalue()
