"""How far something is, on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from mmst_cli import terminal as module
from mmst_cli.terminal import Terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; ``clock.now`` moves it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def terminal_of(*, interactive):
    console = Console(file=io.StringIO(), width=120, force_terminal=interactive, highlight=False)
    return Terminal(console, json_results=True)


def test_a_log_gets_a_line_every_ten_seconds(clock):
    terminal = terminal_of(interactive=False)
    with terminal.progress("encoding", 3000, done=1000, unit="inputs") as progress:
        for _ in range(4):
            clock.now += 6
            progress.advance(250)
    assert terminal.console.file.getvalue().splitlines() == [
        "encoding: 1,500 of 3,000 inputs, 41.7/s, time left 0:00:36",
        "encoding: 2,000 of 3,000 inputs, 41.7/s, time left 0:00:24",
    ]
    assert progress.summary() == "encoding: 2,000 inputs in 24.0 s"


def test_a_total_may_be_unknown_and_become_known(clock):
    terminal = terminal_of(interactive=False)
    with terminal.progress("comparing") as progress:
        clock.now += 10
        progress.advance(0)
        clock.now += 10
        progress.advance(0, total=40)
        clock.now += 10
        progress.advance(10, total=40)
    assert terminal.console.file.getvalue().splitlines() == [
        "comparing: 0, 0.0/s",
        "comparing: 0 of 40, 0.0/s, time left unknown",
        "comparing: 10 of 40, 0.3/s, time left 0:01:30",
    ]


@pytest.mark.parametrize(("total", "words"), [(10, "encoding: 6 of 10 inputs"), (None, "encoding: 6 inputs")])
def test_plain_lines_where_nobody_watches(total, words, monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY", 0)
    terminal = terminal_of(interactive=False)
    with terminal.progress("encoding", total, done=2, unit="inputs") as progress:
        progress.advance(4)
    said = terminal.console.file.getvalue()
    assert said.startswith(words)
    assert ("time left" in said) == (total is not None)


def test_plain_lines_are_seldom():
    terminal = terminal_of(interactive=False)
    with terminal.progress("encoding", 10) as progress:
        for _ in range(10):
            progress.advance(1)
    assert terminal.console.file.getvalue() == ""


@pytest.mark.parametrize(("total", "words"), [(10, "6/10"), (None, "6/?")])
def test_a_bar_for_a_person(total, words):
    terminal = terminal_of(interactive=True)
    with terminal.progress("encoding [all]", total, done=2) as progress:
        progress.advance(4)
    said = terminal.console.file.getvalue()
    assert words in said
    assert "/s" in said
    assert "encoding [all]" in said


def test_a_person_sees_a_bar_and_no_lines(monkeypatch):
    monkeypatch.setattr(module, "LINE_EVERY", 0.0)
    terminal = terminal_of(interactive=True)
    with terminal.progress("training", 10, done=2) as progress:
        progress.advance(3, note="loss 0.5")
    progress.close()
    shown = terminal.console.file.getvalue()
    assert "training" in shown
    assert "5/10" in shown
    assert "loss 0.5" in shown
    assert "5 of 10" not in shown
    progress.advance(5)  # behind the end: counted, and nothing is shown
    assert (progress.done, terminal.console.file.getvalue()) == (10, shown)


def test_a_command_is_on_one_line_in_a_narrow_window_and_a_sentence_is_wrapped():
    console = Console(file=io.StringIO(), width=20, force_terminal=True, highlight=False)
    terminal = Terminal(console, json_results=True)
    terminal.show("next: mmst encode 'runs/a b' INPUT --output vectors")
    terminal.say("a sentence that is longer than that")
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "next: mmst encode 'runs/a b' INPUT --output vectors"
    assert len(lines) == 3
