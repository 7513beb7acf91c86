"""`mmst runs` says of run folders what they recorded, and how their configs differ."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.errors import RunError
from mmst_cli.evaluation.evaluation_results import Cell, Evaluation, EvaluationResult, save_evaluation
from mmst_cli.evaluation.run_overview import differing_keys, find_runs, summarise
from mmst_cli.runs import RunFolder


def scored(value):
    cell = Cell(128, "float32", 512, {"ndcg@10": value}, (value - 0.1, value + 0.1), 0.1)
    return Evaluation(EvaluationResult("pages", "m", 40, 40, "ndcg@10", [cell]))


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a run as training does, below `runs/`."""
    monkeypatch.chdir(tmp_path)

    def write(name, started, score=None, **training):
        run = RunFolder(tmp_path / "runs" / name)
        run.path.mkdir(parents=True)
        datasets = {"train": {"use": "train", "path": "rows.csv"}, "eval": {"use": "eval", "path": "others.csv"}}
        loss = [{"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 8}}]
        config = {"run_name": name, "model": {"name_or_path": "m"}, "datasets": datasets, "loss": loss}
        run.config.write_text(yaml.safe_dump({**config, "training": training}))
        run.environment.write_text(json.dumps({"started": started}))
        run.log_metrics({"step": 10, "loss": 1.0, "seconds": {"forward": 60.0, "data": 2.0}})
        run.log_metrics({"step": 20, "loss": 0.5, "seconds": {"forward": 3.0}})
        if score is not None:
            run.model.mkdir()
            save_evaluation(scored(score), run.evaluations)
            save_evaluation(scored(0.2), run.evaluations, ".before")
            (run.evaluations / "pages.ranges.json").write_text("{}")
        return run

    return write


def test_a_run_in_a_line(write):
    done = summarise(write("a", "2026-01-02", 0.8, seed=1))
    assert (done.model, done.data, done.state, done.steps, done.seconds) == ("m", ["rows.csv"], "done", 20, 65.0)
    (score,) = done.scores
    assert (score.evaluator, score.metric, score.value, score.before) == ("pages", "ndcg@10", 0.8, 0.2)
    assert score.interval == [0.8 - 0.1, 0.8 + 0.1]


def test_runs_without_a_model(write):
    assert summarise(write("a", "2026-01-02")).state == "unfinished"
    failed = write("b", "2026-01-02")
    failed.failed_model.mkdir()
    assert (summarise(failed).state, summarise(failed).scores) == ("failed", [])
    failed.config.write_text(":")
    assert summarise(failed).model == ""


def test_which_runs_are_meant(write, tmp_path):
    later, earlier = write("a", "2026-01-02"), write("b", "2026-01-01")
    (tmp_path / "runs/notes").mkdir()
    assert [run.path.name for run in find_runs([])] == ["b", "a"]
    assert find_runs([str(later.path), str(earlier.path), str(later.path)]) == [later, earlier]
    assert len(find_runs(["runs"])) == 2
    for nothing in ("gone", "runs/notes"):
        with pytest.raises(RunError, match=f"^{nothing}: no run"):
            find_runs([nothing])


def test_the_keys_that_differ(write):
    runs = [write("a", "2026-01-01", seed=1, bf16=True), write("b", "2026-01-02", seed=2)]
    assert differing_keys(runs) == {"training.seed": [1, 2], "training.bf16": [True, None]}
    runs[1].config.write_text(runs[1].config.read_text().replace("mini_batch_size: 8", "mini_batch_size: 16"))
    assert differing_keys(runs)["loss.0.args.mini_batch_size"] == [8, 16]


def test_the_command(write):
    write("a", "2026-01-01", 0.8, seed=1)
    write("b", "2026-01-02", seed=2)
    listed = CliRunner().invoke(app, ["runs"])
    assert listed.exit_code == 0 and "pages ndcg@10 0.8000" in " ".join(listed.stdout.split())
    assert "training.seed" not in listed.stdout
    compared = CliRunner().invoke(app, ["runs", "runs/a", "runs/b"])
    assert "training.seed" in compared.stdout and "mmst eval runs/b --compare runs/a" in compared.output
    told = json.loads(CliRunner().invoke(app, ["runs", "runs/a", "runs/b", "--json"]).stdout)
    assert [run["steps"] for run in told["runs"]] == [20, 20]
    assert told["differing"] == {"training.seed": [1, 2]}
    gone = CliRunner().invoke(app, ["runs", "gone"])
    assert gone.exit_code == RunError.exit_code and "error: gone: no run" in gone.output


def test_a_page_of_them(write, tmp_path):
    write("a", "2026-01-01", 0.8, seed=1)
    write("b & c", "2026-01-02", 0.9, seed=2)
    command = ["runs", "runs/a", "runs/b & c", "--html", "runs.html"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "page: runs.html" in done.output
    page = (tmp_path / "runs.html").read_text()
    assert "b &amp; c" in page and "training.seed" in page and "0.9000" in page and page.count("<svg") == 2
    assert "mmst eval &#39;runs/b &amp; c&#39; --compare runs/a" in page
    again = CliRunner().invoke(app, command)
    assert again.exit_code == RunError.exit_code and "--overwrite" in again.output
    assert CliRunner().invoke(app, [*command, "--overwrite"]).exit_code == 0
    alone = CliRunner().invoke(app, ["runs", "runs/a", "--html", "one.html"])
    assert alone.exit_code == 2 and "two runs or more" in alone.output and not (tmp_path / "one.html").exists()
