"""A run's model in other dtypes: what is written is what was measured, or nothing is written."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from small_job import DIMS, job, write_job
from text_job import text_job
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.load import load_config
from mmst_cli.config.schema import Dtype
from mmst_cli.errors import ModelError, RunError, WorkError
from mmst_cli.exporting import export
from mmst_cli.exporting.export import FIGURES, check_holdable, run_export
from mmst_cli.output_claim import LOCK
from mmst_cli.preparing import compared_folder
from mmst_cli.preparing.compared_folder import refuse_if_taken
from mmst_cli.runs import RunFolder
from mmst_cli.training.train import run_training


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    run_training(load_config(write_job(job(folder, max_steps=2), folder / "job.yaml")))
    return RunFolder(folder / "run")


@pytest.mark.parametrize("dtype", [Dtype.bfloat16, Dtype.float16, Dtype.auto])
def test_another_dtype(run, tmp_path, dtype):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).touch()  # of an export that was killed
    found = run_export(run, tmp_path / "out", dtype)
    held = "float32" if dtype is Dtype.auto else str(dtype)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {f"torch.{held}"}
    before = load_file(run.model / "model.safetensors")
    assert all(torch.equal(tensor, before[name].to(tensor.dtype)) for name, tensor in weights.items())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["dtype"], config["matryoshka_dimensions"]) == (held, sorted(DIMS))
    figures = json.loads((tmp_path / "out" / FIGURES).read_text())
    assert figures == found.to_dict() and figures["gate"]["passed"]
    assert (figures["gate"]["largest_difference"] == 0) == (dtype is Dtype.auto)
    vector = SentenceTransformer(str(tmp_path / "out"), device="cpu", model_kwargs={"dtype": "auto"}).encode("a page")
    expected = SentenceTransformer(str(run.model), device="cpu").encode("a page")
    assert abs(vector - expected).max() < 0.02
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_has_other_vectors_is_not_exported(run, tmp_path, monkeypatch):
    save = compared_folder.save_for_servers

    def spoil(model, folder, dims):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        save(model, folder, dims)

    monkeypatch.setattr(compared_folder, "save_for_servers", spoil)
    with pytest.raises(WorkError, match=r"^nothing was written: .* vectors differ from those that were measured"):
        run_export(run, tmp_path / "out", Dtype.bfloat16)
    assert not list(tmp_path.iterdir())


def test_a_weight_that_a_dtype_cannot_hold_is_told_though_no_compared_input_meets_it(run, tmp_path, monkeypatch):
    def load(*arguments, **options):
        prepared = prepare(*arguments, **options)
        with torch.no_grad():
            next(prepared.model.parameters()).view(-1)[-1] = 1e6
        return prepared

    prepare = export.prepare_config
    monkeypatch.setattr(export, "prepare_config", load)
    with pytest.raises(WorkError, match=r"^nothing was written: weights in .* are not finite in float16"):
        run_export(run, tmp_path / "out", Dtype.float16)
    assert not list(tmp_path.iterdir())


def test_a_projection_stays_in_float32():
    model = SentenceTransformer(modules=[Dense(4, 2)], device="cpu")
    with pytest.raises(ModelError, match=r"--dtype: bfloat16: the model has a projection .* Write --dtype float32\."):
        check_holdable(model, Dtype.bfloat16)
    check_holdable(model, Dtype.float32)
    check_holdable(model, Dtype.auto)


def test_nothing_is_replaced_but_an_earlier_export_that_is_named(run, tmp_path):
    taken = tmp_path / "out"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match=r"holds something\. Name another place, or add --overwrite\."):
        run_export(run, taken, Dtype.auto)
    with pytest.raises(RunError, match=r"was not written by this command"):
        run_export(run, taken, Dtype.auto, overwrite=True)
    with pytest.raises(RunError, match=r"was not written by this command"):
        run_export(run, run.path, Dtype.auto, overwrite=True)
    assert (taken / "mine.txt").read_text() == "keep"


def test_what_a_killed_command_left_is_in_nobodys_way(tmp_path):
    (tmp_path / LOCK).touch()
    refuse_if_taken(tmp_path, FIGURES, overwrite=False)
    aside = tmp_path.with_name(f".{tmp_path.name}.old")
    aside.mkdir()
    (aside / "mine.txt").touch()  # which it had moved aside, and is back
    with pytest.raises(RunError, match="holds something"):
        refuse_if_taken(tmp_path, FIGURES, overwrite=False)
    assert (tmp_path / "mine.txt").exists() and not aside.exists()


def test_the_folder_that_the_command_was_started_in_is_not_replaced(tmp_path, monkeypatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    for output in (Path(), Path(".."), inner):
        with pytest.raises(RunError, match=r"--output: .* can't be replaced by a new folder: this command was started"):
            refuse_if_taken(output, FIGURES, overwrite=True)
    assert not list(inner.iterdir())


def test_the_command(run, tmp_path):
    done = CliRunner().invoke(app, ["export", str(run.path), "--output", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["dtype"] == "bfloat16"
    again = ["export", str(run.path), "--output", str(tmp_path / "out"), "--overwrite", "--dtype", "float16", "--json"]
    assert json.loads(CliRunner().invoke(app, again).stdout)["dtype"] == "float16"
    none = CliRunner().invoke(app, ["export", str(tmp_path), "--output", str(tmp_path / "two")])
    assert none.exit_code == 2 and "no run of `mmst train`" in none.stderr


def test_a_run_that_evaluated_nothing(tmp_path, quiet):
    run_training(load_config(write_job(text_job(tmp_path, max_steps=1), tmp_path / "job.yaml")), terminal=quiet)
    assert run_export(RunFolder(tmp_path / "run"), tmp_path / "out", Dtype.bfloat16, terminal=quiet).gate.passed
