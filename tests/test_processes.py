"""Several processes of one command: who speaks, what is exchanged, and that all end when one fails."""

import json
import socket
import threading
import time

import pytest
from typer.testing import CliRunner

from mmst_cli import ending_together, processes
from mmst_cli.cli import app
from mmst_cli.terminal import Terminal

TALK = """
import time
from mmst_cli import processes
import sys, json
if not processes.is_first():
    time.sleep(0.5)
with processes.first_before_others():
    came = time.time()
print(json.dumps([processes.gather({"rank": processes.rank()}), processes.share(processes.rank() + 7), came]))
processes.wait()
"""
FAIL = """
import sys, time
from mmst_cli import ending_together, processes
from mmst_cli.cli.app import told_in_one_line
from mmst_cli.errors import DataError
ending_together.watch()
processes.wait()
with told_in_one_line():
    if str(processes.rank()) in sys.argv[1]:
        if "bug" in sys.argv:
            raise RuntimeError("a bug")
        raise DataError("row 3: broken")
    try:
        time.sleep(120)
    finally:
        print("went on", file=sys.stderr)
"""


@pytest.fixture
def run_two(pair, tmp_path):
    """A function that runs a script in two processes beside a launcher's store: exit codes, stdout, stderr."""

    def run(script, *arguments, port=None, launcher="True"):
        environment = {"TORCHELASTIC_USE_AGENT_STORE": launcher} | ({"MASTER_PORT": str(port)} if port else {})
        ended = pair.run(tmp_path, *arguments, code=script, environment=environment, launched=False)
        return ended.codes, tuple(ended.out), tuple(ended.err)

    return run


def test_values_are_exchanged_and_the_first_goes_before_the_others(run_two):
    codes, said, _ = run_two(TALK)
    assert codes == [0, 0]
    (gathered, shared, first), (*others, second) = (json.loads(text) for text in said)
    assert [gathered, shared] == others == [[{"rank": 0}, {"rank": 1}], 7]
    assert first <= second


def test_an_error_in_one_process_ends_all_with_its_sentence(run_two):
    begun = time.monotonic()
    codes, _, errors = run_two(FAIL, "1")
    assert codes == [2, 2]
    assert errors == ("", "error: row 3: broken\n")
    assert time.monotonic() - begun < 60  # and not the 120 that the other would sleep


def test_an_error_in_all_processes_is_said_once(run_two):
    codes, _, errors = run_two(FAIL, "01")
    assert codes == [2, 2]
    assert "".join(errors) == "error: row 3: broken\n"


def test_a_bug_in_all_processes_has_one_traceback(run_two):
    codes, _, errors = run_two(FAIL, "01", "bug")
    assert codes == [1, 1]
    assert "".join(errors).count("Traceback") == 1 and "RuntimeError: a bug" in "".join(errors)


MEET = """
import sys, time
from datetime import timedelta
from mmst_cli import ending_together, processes
from mmst_cli.cli.app import told_in_one_line
from mmst_cli.errors import DataError
processes._ANSWER = timedelta(seconds=4)
with told_in_one_line():
    if processes.rank() == 0 and "fails" in sys.argv:
        raise DataError("row 3: broken")
    if processes.rank() == 1 and "fails" in sys.argv:
        time.sleep(3)  # and comes when the other has failed
    ending_together.watch()
    begun = time.monotonic()
    processes.wait()
    print("met")
ending_together.leave()
"""


@pytest.fixture
def port():
    """A port at which something listens that never answers; nothing does once it is closed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken, taken.getsockname()[1]


@pytest.mark.parametrize("what", ["nothing", "mute"])
@pytest.mark.parametrize("launcher", ["True", "False"])
def test_a_store_that_is_not_there_ends_all_soon(run_two, port, what, launcher):
    """With the launcher that is to keep it, or without one, where the first process does."""
    if what == "mute":
        port[0].listen(50)
    begun = time.monotonic()
    codes, said, errors = run_two(MEET, port=port[1], launcher=launcher)
    assert time.monotonic() - begun < 60  # torch would wait for minutes
    assert codes == [1, 1] and said == ("", "")
    # The first speaks; where it would have kept the store, the other has nobody to ask whether it did.
    assert errors[0].startswith("error: the processes of the run can't find each other at MASTER_ADDR:MASTER_PORT, ")
    assert f"127.0.0.1:{port[1]}: " in errors[0] and errors[0].count("\n") == 1
    assert errors[1].count("\n") == (launcher == "False") and "Traceback" not in errors[1]


def test_without_a_launcher_the_first_process_keeps_the_store(run_two, port):
    port[0].close()
    assert run_two(MEET, port=port[1], launcher="False") == ([0, 0], ("met\n", "met\n"), ("", ""))


def test_what_ended_the_first_is_known_to_those_that_come_later(run_two, port):
    port[0].close()
    codes, _, errors = run_two(MEET, "fails", port=port[1], launcher="False")
    assert codes == [2, 2] and errors == ("error: row 3: broken\n", "")


def test_what_is_put_in_order_is_not_cut_short(monkeypatch):
    order = []
    monkeypatch.setattr(ending_together, "_last_work", threading.RLock())  # which the one that ends never gives back
    monkeypatch.setattr(ending_together.os, "_exit", lambda code: order.append(f"ended {code}"))
    ending = threading.Thread(target=ending_together.end, args=(1,))
    with ending_together.last_work():
        ending.start()
        ending.join(0.3)
        order.append("put in order")
    ending.join()
    assert order == ["put in order", "ended 1"]


@pytest.fixture
def second_of_two(monkeypatch):
    for name, value in zip(processes.VARIABLES, ("1", "1", "2", "localhost", "1"), strict=True):
        monkeypatch.setenv(name, value)


def test_without_a_launcher_there_is_one_process():
    assert (processes.count(), processes.rank(), processes.is_first()) == (1, 0, True)
    assert processes.gather("alone") == ["alone"]
    processes.wait()


def test_only_the_first_is_heard(second_of_two, tmp_path, capsys):
    terminal = Terminal()
    terminal.say("on stderr")
    terminal.show("on stdout")
    terminal.log_to(tmp_path / "log.txt")
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "log.txt").exists()


def test_commands_of_one_process_refuse_a_launcher(second_of_two, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    result = CliRunner().invoke(app, ["eval", "run"])
    assert result.exit_code == 2
    assert "error: mmst eval: it runs in one process" in result.output


def test_the_launcher_refuses_another_and_more_processes_than_gpus(tmp_path, monkeypatch):
    (tmp_path / "job.yaml").write_text(
        "model: {name_or_path: m}\nloss: [{type: MultipleNegativesRankingLoss}]\ntraining: {max_steps: 4}\n"
        "datasets: {train: {use: train, path: p, columns: {q: {role: anchor}, d: {role: positive}}}}\n"
    )
    run = CliRunner()
    many = run.invoke(app, ["train", str(tmp_path / "job.yaml"), "--num-processes", "999"])
    assert many.exit_code == 2 and "--num-processes: 999, but each process takes a GPU" in many.output
    none = run.invoke(app, ["train", str(tmp_path / "job.yaml"), "--num-processes", "0"])
    assert none.exit_code == 2 and "it takes 1 or more" in none.output
    skipping = ["datasets.train.on_bad_row=skip", "--num-processes", "2"]
    skip = run.invoke(app, ["train", str(tmp_path / "job.yaml"), *skipping])
    assert skip.exit_code == 2 and "datasets.train.on_bad_row: skip" in skip.output


GONE = """
import os, sys, time
from mmst_cli.ending_together import leave, watch
from mmst_cli import processes
watch()
processes.wait()
if processes.rank() == 1:
    if "leaves" in sys.argv:
        leave()
    os._exit(0)
time.sleep(20 if "leaves" not in sys.argv else 0)  # deaf, as in an exchange with one that is gone
if "leaves" in sys.argv:
    leave()
    time.sleep(4)
print("went on")
"""


def test_one_that_is_gone_without_a_word_is_noticed_by_another(run_two):
    codes, said, errors = run_two(GONE)
    assert codes == [1, 0] and said[0] == ""
    assert (
        errors[0].startswith("error: another process of the run is gone without a word") and errors[0].count("\n") == 1
    )


def test_one_that_took_leave_is_not_missed(run_two):
    codes, said, errors = run_two(GONE, "leaves")
    assert codes == [0, 0] and said[0] == "went on\n" and errors == ("", "")
