"""The best checkpoint at the end of a run: its weights, wherever they are in the model, or an error."""

import json
import os
import shutil
import signal
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from text_job import evaluated, run, text_job

from mmst_cli.errors import Interrupted, RunError, WorkError
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.training.best_weights import load_weights
from mmst_cli.training.trainer import RunTrainer
from mmst_cli.whole_checkpoints import mark_whole


def best_job(folder, **more):
    """Return a job whose best model is by its metric the worst, so that it is an early one."""
    config = evaluated(text_job(folder, max_steps=8, save_strategy="steps", save_steps=2, learning_rate=3e-3))
    config["training"] |= {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
    config["training"] |= {"metric_for_best_model": "texts_cosine_ndcg@10", "greater_is_better": False}
    config["model"] = {"dtype": "float32", **more} if "routes" in more else {**config["model"], **more}
    return config


def tensors(folder):
    return {
        f"{path.parent.relative_to(folder)}/{name}": tensor
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def best_of(run_folder):
    state = json.loads((run_folder / "checkpoint-8/trainer_state.json").read_text())
    return run_folder / f"checkpoint-{state['best_global_step']}"


def same(left, right):
    ours, theirs = tensors(left), tensors(right)
    assert ours.keys() == theirs.keys() and ours
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


MODELS = {
    "plain": {},
    "frozen": {"frozen": ["embed"]},
    "routes": {
        "routes": {side: {"name_or_path": "builtin:tiny-text"} for side in ("query", "document")},
        "dimension": 16,
    },
}


@pytest.mark.parametrize("kind", ["plain", "routes"])
def test_the_model_has_the_weights_of_the_best_checkpoint(tmp_path, quiet, kind):
    result = run(best_job(tmp_path, **MODELS[kind]), tmp_path, quiet)
    best = best_of(tmp_path / "run")
    assert best.name != "checkpoint-8"
    assert same(tmp_path / "run/model", best) and not same(tmp_path / "run/model", tmp_path / "run/checkpoint-8")
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    step = int(best.name.removeprefix("checkpoint-"))
    there = next(line for line in metrics if line["step"] == step and "eval_texts_cosine_ndcg@10" in line)
    assert result.after["texts"].result.full.metrics["ndcg@10"] == there["eval_texts_cosine_ndcg@10"]


def at_step(terminal, begins, do):
    say = terminal.say

    def say_and_do(message="", *rest, **style):
        say(message, *rest, **style)
        if str(message).startswith(begins):
            do()

    terminal.say = say_and_do
    return terminal


@pytest.mark.parametrize("fault", ["gone", "cut off", "not one", "a byte", "of another model"])
def test_a_best_checkpoint_that_cannot_be_loaded_is_an_error(tmp_path, quiet, fault, monkeypatch):
    def spoil(best):
        path = best / "model.safetensors"
        content, weights = path.read_bytes(), load_file(path)
        if fault == "gone":
            shutil.rmtree(best)
        elif fault == "of another model":
            save_file({name: torch.zeros(3, *tensor.shape) for name, tensor in weights.items()}, path, {"format": "pt"})
            mark_whole(best)
        elif fault == "a byte":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        else:
            path.write_bytes(content[:-9] if fault == "cut off" else b"x" * len(content))

    def spoil_and_load(trainer):
        spoil(Path(trainer.state.best_model_checkpoint))
        load(trainer)

    load = RunTrainer._load_best_model
    monkeypatch.setattr(RunTrainer, "_load_best_model", spoil_and_load)
    with pytest.raises(WorkError, match=r"^training\.load_best_model_at_end: .* was measured best and can't") as caught:
        run(best_job(tmp_path), tmp_path, quiet)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "run/model").exists()
    assert RunFolder(tmp_path / "run").checkpoints()[-1].name == "checkpoint-8"


def test_a_run_that_was_moved_finds_its_best_checkpoint_and_misses_one_that_is_gone(tmp_path, quiet):
    config = best_job(tmp_path)
    with pytest.raises(Interrupted):
        run(config, tmp_path, at_step(quiet, "step 5/", lambda: os.kill(os.getpid(), signal.SIGTERM)))
    (tmp_path / "run").rename(tmp_path / "moved")
    config["output_dir"] = str(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved/checkpoint-2", tmp_path / "kept")
    shutil.rmtree(tmp_path / "moved/checkpoint-2")
    quiet = Terminal(Console(file=StringIO()), json_results=True)  # the other one's log was moved with the run
    with pytest.raises(RunError, match=r"checkpoint-2 was measured best, and is gone, damaged or not whole"):
        run(config, tmp_path, quiet, resume=True)
    shutil.copytree(tmp_path / "kept", tmp_path / "moved/checkpoint-2")
    run(config, tmp_path, quiet, resume=True)
    assert same(tmp_path / "moved/model", tmp_path / "moved/checkpoint-2")


def test_adapters_and_what_is_frozen_stay_what_they_are(tmp_path):
    peft = pytest.importorskip("peft")
    from sentence_transformers import SentenceTransformer

    from mmst_cli.builtin.tiny_text import build_tiny_text

    model = SentenceTransformer(str(build_tiny_text()), device="cpu")
    torch.manual_seed(0)
    model[0].auto_model.add_adapter(peft.LoraConfig(target_modules="all-linear", init_lora_weights=False))
    frozen = {name for name, weights in model.named_parameters() if not weights.requires_grad}
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    before = model.encode(["some words"], convert_to_tensor=True)
    model.save_pretrained(str(tmp_path / "checkpoint"), create_model_card=False)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora" in name:
                weights.add_(1)
    assert not torch.equal(model.encode(["some words"], convert_to_tensor=True), before)
    load_weights(model, tmp_path / "checkpoint")
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert {name for name, weights in model.named_parameters() if not weights.requires_grad} == frozen
    assert torch.equal(model.encode(["some words"], convert_to_tensor=True), before)


def test_a_best_step_that_was_not_saved(tmp_path, quiet):
    config = best_job(tmp_path)
    config["training"] |= {"save_steps": 4}
    with pytest.raises(WorkError, match=r"measured best after step 2, of which there is no checkpoint"):
        run(config, tmp_path, quiet)
    assert "training.save_steps: 4, while every 2 steps are measured" in quiet.console.file.getvalue()
    assert not (tmp_path / "run/model").exists()


def test_a_metric_that_is_never_a_number(tmp_path, quiet, monkeypatch):
    from mmst_cli.evaluation.evaluator_suite import EvaluatorSuite

    monkeypatch.setattr(EvaluatorSuite, "__call__", lambda *_, **__: {"texts_cosine_ndcg@10": float("nan")})
    with pytest.raises(WorkError, match=r"^training\.metric_for_best_model: it was a number in no evaluation"):
        run(best_job(tmp_path), tmp_path, quiet)


# Which checkpoints are kept


def folder_with(tmp_path, *steps, broken=()):
    for step in steps:
        checkpoint = tmp_path / f"checkpoint-{step}"
        checkpoint.mkdir()
        (checkpoint / "weights").write_bytes(b"w")
        if step not in broken:
            mark_whole(checkpoint)
    return RunFolder(tmp_path)


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, {2, 4, 6, 8}),
        (0, None, {2, 4, 6, 8}),
        (2, None, {6, 8}),
        (1, "checkpoint-2", {2, 8}),
        (3, "elsewhere/checkpoint-4", {4, 6, 8}),
        (1, "checkpoint-8", {8}),
    ],
)
def test_old_checkpoints_go(tmp_path, limit, best, left):
    folder = folder_with(tmp_path, 2, 4, 6, 8)
    (tmp_path / "checkpoint-2-good").mkdir()
    folder.drop_old_checkpoints(limit, best)
    assert {int(path.name.removeprefix("checkpoint-")) for path in folder.checkpoints()} == left
    assert (tmp_path / "checkpoint-2-good").is_dir()


def test_one_that_is_not_whole_pushes_none_out(tmp_path):
    folder = folder_with(tmp_path, 2, 4, broken=[4])
    folder.drop_old_checkpoints(1)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-2"]


def test_an_old_checkpoint_stays_until_the_new_one_counts(tmp_path, quiet, monkeypatch):
    seen = []
    drop = RunFolder.drop_old_checkpoints

    def look_and_drop(folder, *arguments):
        seen.append([path.name for path in folder.checkpoints()])
        drop(folder, *arguments)

    monkeypatch.setattr(RunFolder, "drop_old_checkpoints", look_and_drop)
    run(text_job(tmp_path, save_strategy="steps", save_steps=2, save_total_limit=1), tmp_path, quiet)
    assert seen == [["checkpoint-2"], ["checkpoint-2", "checkpoint-4"], ["checkpoint-4", "checkpoint-6"]]
    assert [path.name for path in RunFolder(tmp_path / "run").checkpoints()] == ["checkpoint-6"]
