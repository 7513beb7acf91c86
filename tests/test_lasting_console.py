"""The work outlives narrow windows, characters that can't be encoded, and readers that go away."""

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console, Group
from rich.table import Table

from mmst_cli.lasting_console import fitted
from mmst_cli.terminal import Terminal

FIGURES = ["128", "0.9123", "0.9456", "0.940-0.951", "100.0%", "512"]


def scores():
    table = Table(title="pages: ndcg@10")
    for heading in ("dim", "before", "after", "95% interval", "of full", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*FIGURES)
    return table


def printed(result, width):
    shown = io.StringIO()
    Console(file=shown, width=width).print(fitted(result, width), markup=False, highlight=False)
    return shown.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_figures_of_a_table_stay_whole_in_any_window(width):
    text = printed(scores(), width)
    assert all(figure in text for figure in FIGURES) and "…" not in text
    text = printed(Group(scores(), scores()), width)
    assert all(text.count(figure) >= 2 for figure in FIGURES) and "…" not in text


def test_a_table_that_fits_stays_a_table_and_a_row_that_does_not_says_what_its_figures_are():
    assert fitted(scores(), 80).columns
    assert "before 0.9123; after 0.9456" in " ".join(printed(scores(), 40).split())


def test_a_figure_that_is_cut_is_not_found_inside_another():
    table = Table(box=None, padding=0)
    for heading, width in (("query", None), ("rank", 3)):
        table.add_column(heading, no_wrap=True, width=width)
    table.add_row("q41234x", "1234")
    assert "rank 1234" in printed(table, 40)


def test_a_console_that_nobody_reads_falls_silent(monkeypatch, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    terminal = Terminal()
    terminal.log_to(tmp_path / "log.txt")
    terminal.show("the first line")
    terminal.show(scores())
    assert "0.9456" in (tmp_path / "log.txt").read_text()
    sys.stdout.close()


def test_a_name_that_is_no_text_is_logged(tmp_path):
    terminal = Terminal(Console(file=io.StringIO()))
    terminal.log_to(tmp_path / "log.txt")
    terminal.record(os.fsdecode(b"caf\xe9.png"))
    assert "caf" in (tmp_path / "log.txt").read_text()


def run(script, **options):
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, **options)


SAYING = """
from mmst_cli.streams import prepare_streams
prepare_streams()
from mmst_cli.terminal import Terminal
from mmst_cli.cli.app import print_json
terminal = Terminal()
terminal.say("né à Zürich 東京")
terminal.show("né à Zürich 東京")
print_json({"name": "né 東京"})
open("done", "w").close()
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_characters_that_an_encoding_lacks_do_not_end_the_work(tmp_path, encoding):
    found = run(SAYING, cwd=tmp_path, env={"PYTHONIOENCODING": encoding})
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_stream_that_is_closed_at_the_start_does_not_end_the_work(tmp_path, closed):
    script = f"import os\n{SAYING}\nassert os.path.sameopenfile({closed}, os.open(os.devnull, os.O_RDWR)) or True"
    environment = {**os.environ, "SCRIPT": script}
    command = f'exec "{sys.executable}" -c "$SCRIPT" {closed}>&-'
    found = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("streams", ["", "2>&1"])
def test_a_reader_that_goes_away_does_not_end_the_work(tmp_path, streams):
    environment = {**os.environ, "SCRIPT": SAYING}
    command = f'( sleep 0.2; exec "{sys.executable}" -c "$SCRIPT" {streams} ) | true; echo ${{PIPESTATUS[0]}}'
    found = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.strip() == "0", found.stderr
    assert (tmp_path / "done").exists()
