"""Whether a run keeps a model under its name goes by the gate; what that found is told wherever a run is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from small_job import job, write_job

from mmst_cli.builtin.registry import build_builtin
from mmst_cli.config.load import load_config
from mmst_cli.errors import ModelError, WorkError
from mmst_cli.model.load_model import find_model
from mmst_cli.training.train import run_training


def train(folder, config, **options):
    return run_training(load_config(write_job(config, folder / "job.yaml")), **options)


@pytest.fixture
def forgetful(monkeypatch):
    """Saving loses the prompts."""
    save = SentenceTransformer.save_pretrained

    def save_without(self, path, *arguments, **keywords):
        save(self, path, *arguments, **keywords)
        file = Path(path) / "config_sentence_transformers.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"prompts": {}}))

    monkeypatch.setattr(SentenceTransformer, "save_pretrained", save_without)


def test_a_model_that_failed_has_no_name_that_is_taken_for_good(tmp_path, forgetful, monkeypatch):
    config = job(tmp_path, max_steps=2, save_strategy="steps", save_steps=2) | {"prompts": {"anchor": "Find: "}}
    run = tmp_path / "run"
    with pytest.raises(WorkError, match="didn't pass the gate") as raised:
        train(tmp_path, config)
    assert raised.value.exit_code == 1
    sentence = "Prompts: {} in the folder, {'query': 'Find: '} in memory."
    assert sentence in str(raised.value) and "--resume" in str(raised.value)
    assert not (run / "model").exists() and not (run / "model.unchecked").exists()
    gate = json.loads((run / "gate.json").read_text())
    assert not gate["passed"] and sentence in gate["sentence"]
    assert sentence in (run / "model.failed/README.md").read_text() and "gate: " in (run / "log.txt").read_text()
    page = (run / "report.html").read_text()
    assert "Failed: " in page and "Find: " in page
    with pytest.raises(ModelError, match=r"model\.failed didn't pass the gate"):
        find_model(str(run))
    trained = (run / "model.failed/model.safetensors").read_bytes()
    monkeypatch.undo()  # once it is mended, what was trained is not lost, and no step is taken once more
    assert train(tmp_path, config, resume=True).steps == 2
    assert (run / "model/model.safetensors").read_bytes() == trained
    assert (run / "model/modules.json").is_file() and not (run / "model.failed").exists()
    assert json.loads((run / "gate.json").read_text())["passed"]


def test_a_training_that_changes_nothing_fails_unless_it_could_not(tmp_path, monkeypatch):
    config = job(tmp_path, max_steps=1, learning_rate=0.0)
    train(tmp_path, config)
    assert json.loads((tmp_path / "run/gate.json").read_text())["smallest_movement"] == 0.0
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_, **__: None)
    with pytest.raises(WorkError, match="Training has changed nothing"):
        train(tmp_path, job(tmp_path, max_steps=1), overwrite=True)
    assert (tmp_path / "run/failed/model.failed").is_dir()  # and the run that was to be replaced is back


@pytest.mark.slow
def test_the_command_asks_a_process_of_its_own(tmp_path):
    """As a user runs it, sharing nothing with the session; what it found is in the folder, the card and the page."""
    path = write_job(job(tmp_path, max_steps=2), tmp_path / "job.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "mmst_cli", "train", str(path)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    gate = json.loads((tmp_path / "run/gate.json").read_text())
    assert gate["passed"] and gate["largest_difference"] == 0.0 and gate["smallest_movement"] > 0.01
    assert gate["device"] == gate["measured_on"] == "cpu" and gate["dtype"] == "float32"
    assert f"gate: {gate['sentence']}" in done.stderr
    assert gate["sentence"] in (tmp_path / "run/model/README.md").read_text()
    page = (tmp_path / "run/report.html").read_text()
    assert "Saved model" in page and "query, text" in page and "document, image" in page


def test_a_saved_processor_that_fills_short_sounds_otherwise_does_not_pass(tmp_path, monkeypatch):
    """Though no sound of the run is that short."""
    build_builtin("builtin:tiny-clap")  # as it should be
    save = SentenceTransformer.save_pretrained

    def save_changed(self, path, *arguments, **keywords):
        save(self, path, *arguments, **keywords)
        (file,) = Path(path).rglob("processor_config.json")
        values = json.loads(file.read_text())
        values["feature_extractor"]["padding"] = "repeatpad"
        file.write_text(json.dumps(values))

    monkeypatch.setattr(SentenceTransformer, "save_pretrained", save_changed)
    columns = {"query": {"role": "anchor"}, "sound": {"role": "positive", "modality": "audio"}}
    sounds = {"use": "train", "path": "builtin:sounds", "name": "train", "max_rows": 32, "columns": columns}
    config = job(tmp_path, max_steps=1) | {"datasets": {"train": sounds}, "evaluators": {}}
    config["model"]["name_or_path"] = "builtin:tiny-clap"
    with pytest.raises(WorkError, match="Of a sound cut short the saved processor makes other input_features"):
        train(tmp_path, config)
