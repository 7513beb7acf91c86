import json
import os
import re
import shutil

import pytest

from mmst_cli.errors import RunError
from mmst_cli.run_environment import describe_environment
from mmst_cli.runs import RunFolder, newest_run
from mmst_cli.whole_checkpoints import COMPLETE, checkpoint_step, damaged_file, is_whole, mark_whole


@pytest.fixture
def run(tmp_path):
    """A run folder with everything in it that a run writes, and a user's note."""
    run = RunFolder(tmp_path / "runs" / "a")
    run.write_record("model: {}\n", ["training.seed=1"], ["cpu"], {})
    run.log.write_text("said")
    run.log_metrics({"step": 1})
    run.trackers.write_text("{}")
    for folder in (run.model, run.evaluations, run.path / "checkpoint-5", run.path / "checkpoint-10"):
        folder.mkdir()
        (folder / "modules.json").write_text("[]")
    (run.path / "notes.md").write_text("mine")
    return run


def checkpoint(run, step, content="weights"):
    folder = run.path / f"checkpoint-{step}"
    (folder / "deeper").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "deeper" / "config.json").write_text("{}")
    mark_whole(folder)
    return folder


def metrics_of(run):
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]


def test_a_folder_is_free_until_something_is_in_it(tmp_path):
    run = RunFolder(tmp_path / "a")
    run.refuse_if_taken()
    run.path.mkdir()
    run.refuse_if_taken()
    (run.path / "notes.md").touch()
    with pytest.raises(RunError, match=r"^output_dir: .* already exists and is not empty\. .*--overwrite"):
        run.refuse_if_taken()
    run.config.touch()
    with pytest.raises(RunError, match=r"already holds a run\. .*--resume.*--overwrite"):
        run.refuse_if_taken()


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(RunError, match=r"^output_dir: "):
        RunFolder(tmp_path / "a").refuse_if_taken()
    with pytest.raises(RunError, match=r"^output_dir: .* is a file"):
        RunFolder(tmp_path / "a").set_aside()
    assert (tmp_path / "a").is_file()


def whole_tree(folder):
    """Return every file below a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def add_trackers_files(run):
    events = run.path / "runs" / "Jan01_12-00-00_host" / "events.out.tfevents.1.host.0"
    events.parent.mkdir(parents=True)
    events.write_bytes(b"curves")


def test_what_is_set_aside_is_what_a_run_wrote(run):
    add_trackers_files(run)
    (run.path / "checkpoint-5-good").mkdir()
    (run.path / "checkpoint-notes.md").write_text("mine")
    assert run.set_aside()
    left = sorted(path.name for path in run.path.iterdir())
    assert left == [".replaced", "checkpoint-5-good", "checkpoint-notes.md", "notes.md"]
    run.drop_replaced()
    assert not (run.path / ".replaced").exists()


def test_a_folder_called_runs_with_other_files_stays(run):
    add_trackers_files(run)
    (run.path / "runs" / "mine.txt").touch()
    run.set_aside()
    assert (run.path / "runs" / "mine.txt").exists()


def begin_another(run):
    run.write_record("model: {b: 1}\n", [], ["cpu"], {})
    run.log_metrics({"step": 1, "loss": 2})


def test_a_run_comes_back_if_the_new_one_came_to_nothing(run):
    add_trackers_files(run)
    before = whole_tree(run.path)
    run.set_aside()
    begin_another(run)
    assert run.put_back()
    after = whole_tree(run.path)
    assert {name: content for name, content in after.items() if not name.startswith("failed/")} == before
    assert after["failed/config.yaml"] == b"model: {b: 1}\n"
    assert not run.put_back()


def test_what_a_killed_process_left_half_written_is_nothing(run, tmp_path):
    before = whole_tree(run.path)
    run.set_aside()
    (run.path / ".config.yaml.partial").write_text("mod")
    assert run.put_back()
    assert before == {name: content for name, content in whole_tree(run.path).items() if "partial" not in name}
    assert not list(run.path.glob(".*.partial"))
    new = RunFolder(tmp_path / "new")
    new.path.mkdir()
    (new.path / ".config.yaml.partial").write_text("mod")
    new.refuse_if_taken()


@pytest.mark.parametrize("what", ["checkpoint", "model"])
def test_a_run_is_gone_once_the_new_one_can_be_gone_on_with(what, run):
    run.set_aside()
    begin_another(run)
    checkpoint(run, 3) if what == "checkpoint" else run.model.mkdir()
    assert not run.put_back()
    assert run.config.read_text() == "model: {b: 1}\n"
    assert not (run.path / ".replaced").exists()


@pytest.mark.parametrize("renames", range(12))
def test_killed_while_it_is_moved_a_run_comes_back(renames, run, monkeypatch):
    """Whichever renaming is the last, of those that set a run aside and bring it back, the run is whole afterwards."""
    before = whole_tree(run.path)
    left = iter(range(renames))

    def rename(path, target):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return path.replace(target)

    with monkeypatch.context() as patched:
        patched.setattr(type(run.path), "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            run.set_aside()
            begin = run.path / "config.yaml"
            begin.write_text("model: {b: 1}\n")
            run.put_back()
    run.put_back()
    after = {name: content for name, content in whole_tree(run.path).items() if not name.startswith("failed/")}
    assert after == before


def test_a_second_failure_takes_the_place_of_the_first(run):
    before = whole_tree(run.path)
    for step in (1, 2):
        run.set_aside()
        run.write_record(f"model: {{b: {step}}}\n", [], ["cpu"], {})
        assert run.put_back()
    assert (run.path / "failed" / "config.yaml").read_text() == "model: {b: 2}\n"
    assert before.items() <= whole_tree(run.path).items()


def test_a_folder_without_a_run_is_left_alone(run):
    run.config.unlink()
    with pytest.raises(RunError, match="holds files but no run"):
        run.set_aside()
    assert run.log.exists()
    assert run.model.exists()


def test_setting_nothing_aside(tmp_path):
    assert not RunFolder(tmp_path / "gone").set_aside()
    assert not (tmp_path / "gone").exists()
    assert not RunFolder(tmp_path).set_aside()


def test_the_record_says_how_the_run_was_made(run):
    assert run.is_run()
    assert run.config.read_text() == "model: {}\n"
    assert (run.path / "overrides.txt").read_text() == "training.seed=1\n"
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["devices"] == ["cpu"]
    assert {"torch", "transformers", "sentence-transformers"} <= set(environment["versions"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", environment["started"])


def test_the_environment_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert describe_environment([])["git_commit"] is None


def test_a_marked_checkpoint_is_whole(run):
    assert is_whole(checkpoint(run, 20))


def test_an_unmarked_checkpoint_is_not(run):
    assert not is_whole(run.path / "checkpoint-5")
    assert not is_whole(run.path / "gone")


@pytest.mark.parametrize("name", ["model.safetensors", "deeper/config.json", "complete.json"])
@pytest.mark.parametrize("harm", ["truncated", "gone"])
def test_a_checkpoint_that_lost_something_is_not_whole(name, harm, run):
    file = checkpoint(run, 20) / name
    file.unlink() if harm == "gone" else file.write_bytes(file.read_bytes()[:-2])
    assert not is_whole(file.parents[name.count("/")])


def test_a_grown_file_is_not_whole(run):
    folder = checkpoint(run, 20)
    (folder / "model.safetensors").write_text("more weights")
    assert not is_whole(folder)
    mark_whole(folder)
    assert is_whole(folder)


def test_a_file_with_its_length_and_other_content_is_damaged(run):
    folder = checkpoint(run, 20)
    assert damaged_file(folder) is None
    (folder / "model.safetensors").write_bytes(bytes(len("weights")))
    assert is_whole(folder) and damaged_file(folder) == "model.safetensors"
    marked = {name: found[0] for name, found in json.loads((folder / COMPLETE).read_text()).items()}
    (folder / COMPLETE).write_text(json.dumps(marked))  # as an earlier version wrote it
    assert is_whole(folder) and damaged_file(folder) is None


def test_whole_checkpoints_come_oldest_first_by_step(run):
    written = [checkpoint(run, step) for step in (1000, 20, 9)]
    assert run.checkpoints() == written[::-1]
    assert [checkpoint_step(path) for path in run.checkpoints()] == [9, 20, 1000]


def test_broken_checkpoints_are_dropped_and_nothing_else(run):
    kept = checkpoint(run, 20)
    copied = checkpoint(run, "20-good")
    (run.path / "checkpoint-best").mkdir()
    (run.path / "checkpoint-7").write_text("a file")
    dropped = run.drop_broken_checkpoints()
    assert sorted(path.name for path in dropped) == ["checkpoint-10", "checkpoint-5"]
    assert run.checkpoints() == [kept]
    assert copied.is_dir()
    assert (run.path / "checkpoint-best").is_dir()
    assert (run.path / "checkpoint-7").is_file()


def test_metrics_after_the_checkpoint_are_forgotten(run):
    run.metrics.unlink()
    for step in (0, 5, 10, 15):
        run.log_metrics({"step": step, "loss": 1.5})
    run.forget_metrics_after(10)
    assert [record["step"] for record in metrics_of(run)] == [0, 5, 10]
    run.log_metrics({"step": 11})
    assert metrics_of(run)[-1] == {"step": 11}


@pytest.mark.parametrize("half", ['{"step": 6, "lo', '{"step": 6}', "{", '{"loss": 1}', '{"größe": "é'])
def test_a_line_the_process_was_killed_in(half, run):
    cut = half.encode()[:-1] if half.endswith("é") else half.encode()  # in the middle of a letter
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2}\n' + cut)
    run.forget_metrics_after(5)
    assert metrics_of(run) == [{"step": 1}, {"step": 2}]


def test_no_metrics_yet(tmp_path):
    RunFolder(tmp_path).forget_metrics_after(5)
    assert list(tmp_path.iterdir()) == []


def finish(folder, seconds):
    run = RunFolder(folder)
    run.model.mkdir(parents=True)
    run.config.touch()
    modules = run.model / "modules.json"
    modules.touch()
    os.utime(modules, (seconds, seconds))
    return run


def test_the_newest_run_is_the_one_whose_model_was_saved_last(tmp_path):
    finish(tmp_path / "runs" / "a", 300)
    newest = finish(tmp_path / "runs" / "deeper" / "b", 500)
    finish(tmp_path / "runs" / "c", 100)
    (finish(tmp_path / "runs" / "half", 900).model / "modules.json").unlink()
    finish(tmp_path / "runs" / "foreign", 900).config.unlink()
    assert newest_run(tmp_path / "runs") == newest


def test_no_finished_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"no finished run under runs/\. Train one with `mmst train CONFIG`"):
        newest_run()


def test_what_stands_aside_or_failed_is_not_the_newest_run_and_the_way_to_a_model_is_told(run, tmp_path):
    for name in (".", ".replaced", "failed"):
        (run.path / name / "model").mkdir(parents=True, exist_ok=True)
        (run.path / name / "config.yaml").write_text("model: {}\n")
        (run.path / name / "model/modules.json").write_text("[]")
    assert newest_run(tmp_path) == run
    assert "`mmst train" in run.way_to_model() and "brings back the run" in run.way_to_model()
    shutil.rmtree(run.path / ".replaced")
    assert run.way_to_model().endswith("config.yaml --resume`.")
