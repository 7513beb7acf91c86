"""`report_to`: what trackers store is what the run wrote down, from the untrained model to the report."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from struct import unpack
from types import SimpleNamespace

import pytest
from text_job import evaluated, run, text_job

from mmst_cli.errors import ConfigError, WorkError
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.training.trackers import FAILED, STOPPED, SUCCEEDED, MLflow
from mmst_cli.training.tracking import KINDS
from mmst_cli.training.trainer import RunTrainer

TOKEN = "hf_secretsecretsecret"
LOSSES = ("loss", "loss_per_dim/128", "loss_per_dim/32", "grad_norm", "learning_rate")
DOUBLED = {"wandb": [4], "mlflow": [4], "trackio": [4], "tensorboard": []}
"""Steps that were taken again after the run was resumed, and are there twice: TensorBoard alone forgets them."""


def job(folder, **training):
    """Six steps at two dimensions, evaluated before, at the third and at the last."""
    steps = {name: value for kind in ("eval", "save") for name, value in _every_third(kind)}
    config = evaluated(text_job(folder, run_name="small", **steps, **training), dims=[128, 32])
    config["run_name"] = config["training"].pop("run_name")
    config["loss"].append({"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}})
    return config


def _every_third(kind):
    return ((f"{kind}_strategy", "steps"), (f"{kind}_steps", 3))


def expected(folder):
    """Return figure to step to value, of what metrics.jsonl has."""
    found = {}
    for line in RunFolder(folder).metric_lines():
        flat = {f"loss_per_dim/{dim}": loss for dim, loss in line.get("loss_per_dim", {}).items()}
        for name, value in {**line, **flat}.items():
            if name in LOSSES or (name.startswith("eval_") and "_per_second" not in name and "runtime" not in name):
                found.setdefault(name, {})[line["step"]] = value
    return found


def renamed(figures):
    """Return figures by the names that transformers' callbacks give them."""
    return {
        f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}": values
        for name, values in figures.items()
    }


def check(stored, figures, doubled, final, rel=1e-12):
    """Compare lists of (step, value) with the run's own figures."""
    for name, values in figures.items():
        steps = sorted([*values, *(step for step in doubled if step in values)])
        assert sorted(step for step, _ in stored[name]) == steps, name
        assert all(values[step] == pytest.approx(value, rel=rel) for step, value in stored[name]), name
    assert any(0 in values for values in figures.values()) and len(figures) > 40
    last = {name: values[6] for name, values in figures.items() if "ndcg" in name}
    for name, value in last.items():
        assert [(6, pytest.approx(value, rel=rel))] == stored[final(name)]


@pytest.mark.slow
def test_of_two_processes_the_first_reports(pair, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = job(tmp_path, report_to="tensorboard", per_device_train_batch_size=4)
    (tmp_path / "job.yaml").write_text(json.dumps(config))
    ended = pair.run(tmp_path, "train", "job.yaml", count=2)
    assert ended.codes == [0, 0], ended.err
    assert len(list((tmp_path / "run/runs").iterdir())) == 1
    events = EventAccumulator(str(tmp_path / "run/runs"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_the_commands_of_the_page_run_as_they_are_written(pair, tmp_path):
    """In small: with few rows and steps."""
    root = Path(__file__).parents[2]
    (tmp_path / "configs").symlink_to(root / "configs")
    blocks = re.findall(r"```bash\n(.*?)```", (root / "docs/tracking.md").read_text(), re.DOTALL)
    assert shlex.split(blocks[0])[:2] == ["pip", "install"]
    small = ["training.max_steps=2", "training.per_device_train_batch_size=8", "training.eval_strategy='no'"]
    small += ["datasets.train.max_rows=32", "datasets.eval.max_rows=16", "training.save_strategy='no'"]
    for line in blocks[1].splitlines():
        words = shlex.split(line)
        at = words.index("mmst")
        settings = dict(word.split("=") for word in words[:at]) | {"WANDB_DIR": str(tmp_path)}
        ended = pair.run(tmp_path, *words[at + 1 :], *small, count=1, environment=settings)
        assert ended.codes == [0], ended.err
    assert list((tmp_path / "runs/quickstart/runs").iterdir()) and list((tmp_path / "runs/two/runs").iterdir())
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which all trackers keep what they are told, without a network."""
    home = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_", "TENSORBOARD_"))]:
            patch.delenv(name)
        for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
            (home / "wandb-files").mkdir(exist_ok=True)
            patch.setenv(f"WANDB_{name}", str(home / "wandb-files"))
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_PROJECT", "texts")
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("NETRC", str(home / "no-netrc"))
        patch.chdir(home)  # MLflow's store
        patch.syspath_prepend(str(Path(__file__).with_name("trackio_stand_in")))
        yield home
        import wandb

        wandb.teardown()


@pytest.fixture(scope="module")
def tracked(home):
    """A run that failed at its fifth step and was gone on with from the third, tracked by all."""
    folder = home / "job"
    folder.mkdir()
    config = job(folder, report_to=sorted(KINDS), hub_token=TOKEN)
    failed = {}
    with pytest.MonkeyPatch.context() as patch:
        step = RunTrainer.training_step

        def fail(self, *arguments, **keywords):
            if self.state.global_step == 4:
                raise WorkError("the fifth step")
            return step(self, *arguments, **keywords)

        patch.setattr(RunTrainer, "training_step", fail)
        patch.setattr(sys, "argv", ["mmst", "train", f"training.hub_token={TOKEN}"])
        with pytest.raises(WorkError, match="the fifth step"):
            run(config, folder, Terminal())
        failed["mlflow"] = mlflow_run(folder)[0]
        failed["steps"] = {line["step"] for line in RunFolder(folder / "run").metric_lines()}
        patch.setattr(RunTrainer, "training_step", step)
        run(config, folder, Terminal(), resume=True)
    return folder, failed


def mlflow_run(folder):
    from mlflow import MlflowClient

    known = json.loads((folder / "run/trackers.json").read_text())["mlflow"]
    client = MlflowClient(known["store"])
    return client.get_run(known["id"]), client


def wandb_records(path):
    """Yield the records of a run that was written offline: a log of LevelDB's kind, of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, []
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        _, size, kind = unpack("<IHB", data[at : at + 7]) if room >= 7 else (0, 0, 0)
        if kind == 0:
            at += room
            continue
        parts.append(data[at + 7 : at + 7 + size])
        at += 7 + size
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record


@pytest.mark.slow
def test_all_figures_are_in_tensorboard(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _ = tracked
    events = EventAccumulator(str(folder / "run/runs"))
    events.Reload()
    stored = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    figures = renamed(expected(folder / "run"))
    check(stored, figures, DOUBLED["tensorboard"], lambda name: name.replace("eval/", "eval/final/"), rel=1e-6)


@pytest.mark.slow
def test_all_figures_and_the_report_are_in_mlflow(tracked):
    folder, failed = tracked
    found, client = mlflow_run(folder)
    assert failed["mlflow"].info.status == "FAILED" and found.info.status == "FINISHED"
    assert failed["mlflow"].info.run_id == found.info.run_id and found.info.run_name == "small"
    stored = {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, name)]
        for name in found.data.metrics
    }
    figures = {name.replace("@", "_"): values for name, values in expected(folder / "run").items()}
    check(stored, figures, DOUBLED["mlflow"], lambda name: name.replace("eval_", "eval_final/"))
    report = client.download_artifacts(found.info.run_id, "report.html")
    assert Path(report).read_bytes() == (folder / "run/report.html").read_bytes()


@pytest.mark.slow
def test_all_figures_and_the_report_are_in_wandb(tracked, home):
    folder, _ = tracked
    paths = sorted((home / "wandb-files/wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    records = [list(wandb_records(path)) for path in paths]
    runs = [record.run for one in records for record in one if record.WhichOneof("record_type") == "run"]
    assert {(one.run_id, one.project, one.display_name) for one in runs} == {(runs[0].run_id, "texts", "small")}
    assert len(paths) == 2  # `wandb sync` puts files of one run together
    ends = [record.exit.exit_code for one in records for record in one if record.WhichOneof("record_type") == "exit"]
    assert ends == [1, 0]
    stored = {}
    for record in (record for one in records for record in one if record.WhichOneof("record_type") == "history"):
        line = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for name, value in line.items():
            stored.setdefault(name, []).append((line["train/global_step"], value))
    figures = renamed(expected(folder / "run"))
    check(stored, figures, DOUBLED["wandb"], lambda name: name.replace("eval/", "eval/final/"))
    (kept,) = [record.artifact for record in records[1] if record.WhichOneof("record_type") == "artifact"]
    (file,) = kept.manifest.contents
    assert (kept.type, file.path) == ("report", "report.html")
    assert Path(file.local_path).read_bytes() == (folder / "run/report.html").read_bytes()


@pytest.mark.slow
def test_all_figures_and_the_report_are_in_trackio(tracked):
    import trackio

    folder, _ = tracked
    ((name, lines),) = trackio.runs.items()
    assert re.fullmatch(r"small-\d{8}-\d{6}", name)  # another run of that name is another run
    stored = {}
    for line in lines:
        for figure, value in line.items():
            stored.setdefault(figure, []).append((line["train/global_step"], value))
    figures = renamed(expected(folder / "run"))
    check(stored, figures, DOUBLED["trackio"], lambda name: name.replace("eval/", "eval/final/"))
    assert trackio.files == {f"report-{name}": ("report", (folder / "run/report.html").read_bytes())}


@pytest.mark.slow
def test_no_tracker_is_told_a_token(tracked, home):
    for path in home.rglob("*"):
        assert not path.is_file() or path.name == "job.yaml" or TOKEN.encode() not in path.read_bytes(), path


def test_a_tracker_that_comes_later_gets_what_was_before(home, tmp_path, quiet):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(job(tmp_path, max_steps=3), tmp_path, quiet)
    run(job(tmp_path, max_steps=6, report_to="tensorboard"), tmp_path, quiet, resume=True)
    events = EventAccumulator(str(tmp_path / "run/runs"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Scalars("eval/texts_cosine_ndcg@10")] == [0, 3, 6]


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(home, tmp_path, quiet, monkeypatch):
    from torch.utils.tensorboard import SummaryWriter

    def fail(self, name, value, step):
        raise OSError("the disk is gone\nand more")

    monkeypatch.setattr(SummaryWriter, "add_scalar", fail)
    run(job(tmp_path, report_to="tensorboard"), tmp_path, quiet)
    said = quiet.console.file.getvalue().replace("\n", " ")
    assert said.count("tensorboard failed at step 0 and is told no more: the disk is gone. All figures are in") == 1
    assert (tmp_path / "run/model").is_dir()


def test_a_tracker_that_cannot_begin_leaves_nothing_behind(home, tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(ConfigError, match=r"^training\.report_to: found mlflow\. .*0{32}.* not found\.$"):
        run(job(tmp_path, report_to="mlflow"), tmp_path, quiet)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_run_that_was_begun_outside_is_used_and_not_ended(home, tmp_path, quiet):
    import mlflow
    import wandb

    ours = mlflow.start_run(), wandb.init(project="mine")
    try:
        run(text_job(tmp_path, max_steps=1, report_to=["mlflow", "wandb"]), tmp_path, quiet)
        assert mlflow.active_run().info.run_id == ours[0].info.run_id and wandb.run is ours[1]
        found, client = mlflow_run(tmp_path)
        assert found.info.run_id == ours[0].info.run_id and "loss" in found.data.metrics
        assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["report.html"]
    finally:
        mlflow.end_run()
        wandb.finish()


def test_mlflow_begins_anew_where_the_run_of_before_is_gone(home, tmp_path):
    import mlflow

    client = mlflow.MlflowClient()
    there, deleted = (client.create_run("0").info.run_id for _ in range(2))
    client.delete_run(deleted)
    tracker = MLflow("mlflow", SimpleNamespace(_ml_flow=mlflow), RunFolder(tmp_path))
    for name, goes_on in ((there, True), (deleted, False), ("0" * 32, False)):
        known = {"id": name, "store": mlflow.get_tracking_uri()}
        with tracker.beginning(SimpleNamespace(), known, 3) as found:
            assert found == goes_on
            assert ("MLFLOW_RUN_ID" in os.environ) == goes_on


@pytest.mark.parametrize(("code", "status"), [(SUCCEEDED, []), (FAILED, ["FAILED"]), (STOPPED, ["KILLED"])])
def test_mlflow_shows_how_a_run_ended(code, status):
    marked = []
    tracker = MLflow("mlflow", SimpleNamespace(_auto_end_run=True), RunFolder(Path("run")))
    tracker.mlflow = SimpleNamespace(flush_async_logging=lambda: None, end_run=marked.append)
    tracker.end(code)
    assert marked == status and not tracker.callback._auto_end_run  # else it ends a later run when it is collected


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, quiet, monkeypatch, name):
    find = importlib.util.find_spec
    for place in ("importlib.util.find_spec", "mmst_cli.training.tracking.find_spec"):
        monkeypatch.setattr(place, lambda name, *more: None if name.startswith((*KINDS,)) else find(name, *more))
    sentence = rf"^training\.report_to: found {name}, .*pip install 'mmst-cli\[{name}\]'\. Or leave it out\.$"
    with pytest.raises(ConfigError, match=sentence):
        run(text_job(tmp_path, report_to=["none", name][1:]), tmp_path, quiet, dry_run=True)
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert name in extras["optional-dependencies"]


def test_wandb_without_a_login_is_refused_before_the_run(home, tmp_path, quiet, monkeypatch):
    import wandb

    wandb.teardown()
    monkeypatch.delenv("WANDB_MODE")
    try:
        with pytest.raises(ConfigError, match=r"^training\.report_to: found wandb, but nobody is logged in .*offline"):
            run(job(tmp_path, report_to="wandb"), tmp_path, quiet)
    finally:
        wandb.teardown()
    assert not (tmp_path / "run").exists()


def test_what_libraries_print_is_not_in_the_result():
    """transformers prints a line where WANDB_MODE says offline."""
    command = [sys.executable, "-m", "mmst_cli", "inspect-modalities", "builtin:tiny-text", "--json"]
    done = subprocess.run(
        command, env=os.environ | {"WANDB_MODE": "offline"}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) and "WANDB offline" in done.stderr
