"""`--num-processes`: what the processes are told, and how the launcher ends with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmst_cli import launcher
from mmst_cli.errors import WorkError
from mmst_cli.launcher import launch

# In place of the package: what one process of the command does.
ACTS = {
    "tells": "(here / f'told-{rank}').write_text(' '.join([*sys.argv[1:], *(os.environ[n] for n in VARIABLES)]))",
    "fails": "sys.exit(2) if rank == 1 else time.sleep(60)",
    "says and fails": "sys.exit(1) if rank == 0 else os.kill(os.getpid(), signal.SIGKILL)",
    "is killed": "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)",
    "is deaf": "sys.exit(1) if rank == 1 else (signal.signal(signal.SIGTERM, signal.SIG_IGN), time.sleep(60))",
    "stops": "wait_for(2) or sys.exit(143)",
    "comes to its end": "wait_for(1)",
}
PROCESS = """
import os, signal, sys, time
from pathlib import Path
VARIABLES = ("WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_USE_AGENT_STORE")
rank, here, got = int(os.environ["RANK"]), Path(__file__).parent.parent, []
def heard(number, _):
    got.append(number)
    (here / f"heard-{rank}-{len(got)}").touch()
def wait_for(count):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, heard)
    (here / f"ready-{rank}").touch()
    until = time.monotonic() + 60
    while len(got) < count and time.monotonic() < until:
        time.sleep(0.01)
    (here / f"got-{rank}").write_text(" ".join(map(str, got)))
"""


@pytest.fixture
def act(tmp_path, monkeypatch):
    """A function that lets every process act so in place of the command."""
    (tmp_path / "mmst_cli").mkdir()
    (tmp_path / "mmst_cli/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def act(name):
        (tmp_path / "mmst_cli/__main__.py").write_text(f"{PROCESS}\n{ACTS[name]}\n")

    return act


def test_each_process_is_told_which_one_it_is(act, tmp_path):
    act("tells")
    launch(3, ["train", "job.yaml"], on_cpu=True)
    assert [(tmp_path / f"told-{rank}").read_text() for rank in range(3)] == [
        f"train job.yaml 3 {rank} True" for rank in range(3)
    ]


@pytest.mark.parametrize(("name", "code"), [("fails", 2), ("says and fails", 1)])
def test_one_that_fails_ends_the_others_and_is_heard_alone(act, name, code):
    act(name)
    begun = time.monotonic()
    with pytest.raises(SystemExit) as caught:
        launch(2, [], on_cpu=True)
    assert caught.value.code == code and time.monotonic() - begun < 50  # and not the minute of the other


def test_one_that_was_killed_is_spoken_for(act):
    act("is killed")
    with pytest.raises(WorkError, match=r"process 1 of the run was ended from outside by signal 9.*--resume"):
        launch(2, [], on_cpu=True)


def test_one_that_does_not_end_is_ended(act, monkeypatch):
    act("is deaf")
    monkeypatch.setattr(launcher, "_GRACE", 0.5)
    with pytest.raises(SystemExit) as caught:
        launch(2, [], on_cpu=True)
    assert caught.value.code == 1


def wait_for_files(*paths):
    until = time.monotonic() + 100
    while not all(path.exists() for path in paths):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(("name", "code"), [("stops", 143), ("comes to its end", 0)])
def test_signals_are_passed_on_and_the_processes_take_their_time(act, tmp_path, name, code):
    act(name)
    source = Path(launcher.__file__).parent.parent
    script = f"import sys; sys.path[:0] = [{str(source)!r}]\nfrom mmst_cli.launcher import launch\n"
    started = subprocess.Popen(
        # -P and -E: of the two packages this process is to find the real one.
        [sys.executable, "-P", "-E", "-c", script + "launch(2, [], on_cpu=True)"],
        start_new_session=True,
    )
    wait_for_files(*(tmp_path / f"ready-{rank}" for rank in range(2)))
    for count in range(1, 3 if name == "stops" else 2):
        os.killpg(started.pid, signal.SIGTERM)  # as a supervisor does; a terminal's Ctrl-C comes so, too
        wait_for_files(*(tmp_path / f"heard-{rank}-{count}" for rank in range(2)))
    assert started.wait(60) == code
    expected = "15 15" if name == "stops" else "15"
    assert [(tmp_path / f"got-{rank}").read_text() for rank in range(2)] == [expected, expected]
