"""Two commands on one output: the second is refused, and nothing that is dead is in the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmst_cli import processes
from mmst_cli.errors import RunError
from mmst_cli.output_claim import LOCK, all_claimed, check_writable, claimed

HOLD = """
import sys, time
from pathlib import Path
from mmst_cli.output_claim import claimed
with claimed(Path(sys.argv[1]), "output_dir"):
    if sys.argv[2:]:
        import os
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds a claim on a folder."""
    started = []

    def start(place, *more):
        command = [sys.executable, "-c", HOLD, str(place), *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_second_is_refused_and_told_by_whom(tmp_path, holder):
    place = tmp_path / "run"
    process = holder(place)
    for _ in range(2):  # the first refusal leaves the note as it was
        said = rf"^output_dir: {place} is in use by process {process.pid} since \d"
        with pytest.raises(RunError, match=said), claimed(place, "output_dir"):
            pytest.fail("two at once")


@pytest.mark.parametrize("more", [(), ("with a child that lives on",)])
def test_a_killed_process_is_in_nobodys_way(more, tmp_path, holder):
    process = holder(tmp_path, *more)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    with claimed(tmp_path, "output_dir"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_process_still_holds(tmp_path, holder):
    process = holder(tmp_path)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)
    with pytest.raises(RunError, match="in use by process"), claimed(tmp_path, "--output"):
        pass


def test_the_same_folder_by_another_name(tmp_path, holder):
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    holder(tmp_path / "link")
    with pytest.raises(RunError, match="in use"), claimed(tmp_path / "run", "--output"):
        pass


def test_one_process_does_not_claim_twice(tmp_path):
    with claimed(tmp_path, "--output"), pytest.raises(RunError, match="this process"), claimed(tmp_path, "--output"):
        pass
    with claimed(tmp_path, "--output"):
        pass


def test_what_was_made_for_the_lock_alone_goes_again(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "a" / "b", "--output"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "a" / "b", "--output"):
        (tmp_path / "a" / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "file"]


def test_a_claim_on_a_file(tmp_path):
    place, lock = tmp_path / "mined.parquet", tmp_path / ".mined.parquet.lock"
    with claimed(place, "--output", is_file=True):
        assert [path.name for path in tmp_path.iterdir()] == [lock.name]
    assert list(tmp_path.iterdir()) == []


def test_other_processes_of_a_launcher_share_the_claim_of_the_first(tmp_path, monkeypatch, holder):
    holder(tmp_path)
    for name, value in zip(processes.VARIABLES, ("1", "1", "2", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)
    with claimed(tmp_path, "output_dir"):
        pass
    assert (tmp_path / LOCK).exists()


def places(folder):
    (folder / "file").touch()
    return {
        "file": f"{folder}/file is a file; name a folder",
        "file/run": f"{folder}/file is a file, and no folder can be in it",
        "x" * 300: "file name too long",
    }


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("check", [check_writable, lambda place, key: claimed(place, key).__enter__()])
def test_a_place_that_cannot_be(check, number, tmp_path):
    name, reason = list(places(tmp_path).items())[number]
    with pytest.raises(RunError, match=r"^output_dir: ") as caught:
        check(tmp_path / name, "output_dir")
    assert reason in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that can't be written")
def test_a_file_system_that_takes_nothing():
    with pytest.raises(RunError, match="output_dir: /proc/run can't be written: "):
        check_writable(Path("/proc/run"), "output_dir")


def test_checking_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a" / "b", "output_dir")
    check_writable(tmp_path, "output_dir")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["link", "link/below", "loop/below"])
def test_a_link_that_leads_nowhere_is_told_of(place, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    link = tmp_path / place.partition("/")[0]
    said = rf"^--output: .* can't be written: {link} is a link that leads nowhere\. "
    with pytest.raises(RunError, match=said):
        check_writable(tmp_path / place, "--output")
    with pytest.raises(RunError, match=said), claimed(tmp_path / place, "--output"):
        pytest.fail("it leads somewhere")


@pytest.mark.parametrize("place", ["", "folder.parquet"])
def test_a_folder_in_the_place_of_a_file_is_told_of(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.parquet").mkdir()
    said = r"^--output: .* is a folder; name a file"
    with pytest.raises(RunError, match=said), claimed(Path(place), "--output", is_file=True):
        pytest.fail("it is a folder")


def test_names_that_are_no_text_are_refused_since_no_table_can_be_written_there(tmp_path):
    for is_file in (True, False):
        said = r"^--output: '.*byte\\udcff' can't be written: its name holds bytes that are no text"
        with pytest.raises(RunError, match=said), claimed(tmp_path / "byte\udcff", "--output", is_file=is_file):
            pytest.fail("it can't be written")


def test_several_folders_are_claimed_each_once(tmp_path, holder):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "one", target_is_directory=True)
    (tmp_path / "one").mkdir()
    with all_claimed({"--output": tmp_path / "one", "--save-run": link, "TARGET": None}):
        assert (tmp_path / "one" / LOCK).is_file()
    holder(tmp_path / "two")
    two = {"--output": tmp_path / "one", "--save-run": tmp_path / "two"}
    with pytest.raises(RunError, match=r"^--save-run: .*two is in use by"), all_claimed(two):
        pytest.fail("it is in use")
    assert not (tmp_path / "one" / LOCK).exists()
