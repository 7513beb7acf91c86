"""A run that is gone on with: exactly, or with a sentence about what is new, or not at all."""

import json

import pytest
import torch
from resumed_job import as_config, text_job, train
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.config.load import config_to_yaml, load_config
from mmst_cli.errors import ConfigError, MmstError, RunError
from mmst_cli.training.resume_rules import changed_keys, check_resumable
from mmst_cli.training.resumed_state import weights_of_losses
from mmst_cli.training.train import run_training
from mmst_cli.whole_checkpoints import COMPLETE, is_whole

OWN_LOSS = """
import torch
from torch import nn

class WithWeights(nn.Module):
    def __init__(self, model, size=128):
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.ones(size))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, features, labels):
        a, b = (self.model(one)["sentence_embedding"] for one in features)
        self.seen += 1
        return ((a * self.scale - b) ** 2).mean() + 0.001 * self.seen.sum() * self.scale.mean()
"""


def resume_at_three(config, folder):
    """Train, take away all that came after step 3, and train on; return the model's weights of both."""
    run = folder / "run"
    train(config, folder)
    alone = load_file(run / "model/model.safetensors")
    remove(run / "model")
    remove(run / "checkpoint-6")
    train(config, folder, resume=True)
    return alone, load_file(run / "model/model.safetensors")


def remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def logged(folder):
    return [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", ["SoftmaxLoss", "ContrastiveTensionLoss", "a user's own"])
def test_what_a_loss_has_learned_is_gone_on_with(kind, tmp_path, monkeypatch):
    config = text_job(tmp_path)
    if kind == "SoftmaxLoss":
        config["datasets"]["pairs"]["columns"]["kind"] = {"role": "label"}
        config["loss"] = [{"type": kind, "args": {"embedding_dimension": 128, "num_labels": 3}}]
        names = {"classifier.weight", "classifier.bias"}
    elif kind == "ContrastiveTensionLoss":  # trains a copy of the model beside it
        config["loss"] = [{"type": kind}]
        names = {f"model1.{name}" for name in SentenceTransformer(str(build_tiny_text()), device="cpu").state_dict()}
    else:
        (tmp_path / "own_resumed_loss.py").write_text(OWN_LOSS)
        monkeypatch.syspath_prepend(tmp_path)
        config["loss"] = [{"type": "own_resumed_loss.WithWeights"}]
        names = {"scale", "seen"}
    alone, resumed = resume_at_three(config, tmp_path)
    assert all(torch.equal(alone[name], resumed[name]) for name in alone)
    assert set(load_file(tmp_path / "run/checkpoint-3/loss.safetensors")) == names
    assert is_whole(tmp_path / "run/checkpoint-3")


def test_a_checkpoint_without_the_weights_of_the_loss_is_told_of(tmp_path, capsys):
    config = text_job(tmp_path)
    config["datasets"]["pairs"]["columns"]["kind"] = {"role": "label"}
    config["loss"] = [{"type": "SoftmaxLoss", "args": {"embedding_dimension": 128, "num_labels": 3}}]
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    checkpoint = tmp_path / "run/checkpoint-3"
    (checkpoint / "loss.safetensors").unlink()
    sizes = json.loads((checkpoint / "complete.json").read_text())
    del sizes["loss.safetensors"]
    (checkpoint / "complete.json").write_text(json.dumps(sizes))
    train(config, tmp_path, resume=True)
    assert "checkpoint-3 was saved without the weights of the loss: they begin anew" in capsys.readouterr().err


def test_a_loss_without_weights_and_a_guide_leave_nothing(tmp_path):
    from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss, MatryoshkaLoss

    model, guide = (SentenceTransformer(str(build_tiny_text()), device="cpu") for _ in range(2))
    guide.requires_grad_(False)
    loss = MatryoshkaLoss(model, CachedGISTEmbedLoss(model, guide), [64])
    assert weights_of_losses({"a": loss, "b": loss}, model) == {}


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_a_new_learning_rate_and_decay_are_used(schedule, tmp_path, capsys):
    config = text_job(tmp_path, lr_scheduler_type=schedule, weight_decay=0.1)
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    config["training"] |= {"learning_rate": 1e-6, "weight_decay": 0.0, "max_steps": 9}
    train(config, tmp_path, resume=True)
    said = capsys.readouterr().err
    assert "other values of training.learning_rate, training.max_steps, training.weight_decay; the new ones" in said
    rates = {line["step"]: line["learning_rate"] for line in logged(tmp_path) if "learning_rate" in line}
    share = {step: (1.0 if schedule == "constant" else (9 - step + 1) / 9) for step in range(4, 10)}
    assert {step: rates[step] for step in share} == pytest.approx({step: 1e-6 * part for step, part in share.items()})
    state = torch.load(tmp_path / "run/checkpoint-9/optimizer.pt", weights_only=True)
    assert [group["weight_decay"] for group in state["param_groups"]] == [0.0, 0.0]


def test_new_intervals_are_used(tmp_path):
    config = text_job(tmp_path)
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    config["training"] |= {"save_steps": 2, "max_steps": 6, "logging_steps": 2}
    train(config, tmp_path, resume=True)
    saved = sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))
    assert saved == ["checkpoint-3", "checkpoint-4", "checkpoint-6"]
    assert [line["step"] for line in logged(tmp_path) if "loss" in line] == [1, 2, 3, 4, 6]


def test_without_the_optimizers_state_it_is_said(tmp_path, capsys):
    config = text_job(tmp_path, save_only_model=True, lr_scheduler_type="linear")
    resume_at_three(config, tmp_path)
    assert "checkpoint-3 holds no state of the optimizer (training.save_only_model): its" in capsys.readouterr().err
    rates = {line["step"]: line["learning_rate"] for line in logged(tmp_path) if "learning_rate" in line}
    assert rates[4] == pytest.approx(1e-3 * 3 / 6)  # the schedule goes on


CHANGES = {
    "model.name_or_path": ["model", "name_or_path", "other"],
    "model.frozen": ["model", "frozen", ["embeddings"]],
    "loss.0.type": ["loss", 0, "type", "CoSENTLoss"],
    "loss": ["loss", [{"type": "CoSENTLoss"}, {"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [8]}}]],
    "datasets.pairs.columns.doc.role": ["datasets", "pairs", "columns", "doc", "role", "negative"],
    "datasets.pairs.weight": ["datasets", "pairs", "weight", 2.0],
    "training.optim": ["training", "optim", "adafactor"],
    "training.seed": ["training", "seed", 7],
    "training.per_device_train_batch_size": ["training", "per_device_train_batch_size", 4],
    "training.gradient_accumulation_steps": ["training", "gradient_accumulation_steps", 2],
    "training.accelerator_config": [
        "training",
        "accelerator_config",
        {"gradient_accumulation_kwargs": {"num_steps": 2}},
    ],
    "prompts": ["prompts", {"anchor": "query: "}],
}


def put(config, keys, value):
    for key in keys[:-1]:
        config = config[key]
    config[keys[-1]] = value


def begun(config, folder):
    """Write the record of a run that was begun with a config."""
    path = folder / "config.yaml"
    path.write_text(config_to_yaml(as_config(config, folder / "then.yaml")))
    return path


@pytest.mark.parametrize("key", CHANGES)
def test_what_the_state_of_a_run_does_not_allow_is_refused_by_its_key(key, tmp_path):
    config = text_job(tmp_path)
    record = begun(config, tmp_path)
    *keys, value = CHANGES[key]
    put(config, keys, value)
    now = as_config(config, tmp_path / "now.yaml")
    changed = changed_keys(record, now)
    with pytest.raises(ConfigError) as caught:
        check_resumable(changed, record, now, tmp_path / "checkpoint-3")
    assert any(fault.startswith(key) for fault in caught.value.faults), caught.value.faults
    assert all("which --resume can't change" in fault for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["training", "learning_rate"], 1e-6),
        (["training", "save_steps"], 5),
        (["datasets", "pairs", "path"], "moved.jsonl"),
        (["loss", 0, "args"], {"mini_batch_size": 4}),
        (["training", "max_steps"], 3),
        (["model", "attn_implementation"], "eager"),
    ],
)
def test_what_may_change_is_named(keys, value, tmp_path):
    config = text_job(tmp_path)
    config["loss"] = [{"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 8}}]
    record = begun(config, tmp_path)
    put(config, keys, value)
    now = as_config(config, tmp_path / "now.yaml")
    named = check_resumable(changed_keys(record, now), record, now, tmp_path / "checkpoint-3")
    assert [one.startswith(".".join(map(str, keys))) for one in named] == [True]


def test_a_rate_that_is_measured_is_refused(tmp_path):
    config = text_job(tmp_path, lr_scheduler_type="reduce_lr_on_plateau")
    record = begun(config, tmp_path)
    config["training"] |= {"learning_rate": 1e-5}
    now = as_config(config, tmp_path / "now.yaml")
    with pytest.raises(ConfigError, match=r"^training\.learning_rate: "):
        check_resumable(changed_keys(record, now), record, now, tmp_path / "checkpoint-3")


def test_part_of_an_epoch_ends_where_it_would_have_ended_and_fewer_steps_are_refused(tmp_path):
    config = text_job(tmp_path, num_train_epochs=0.5, save_steps=1)
    del config["training"]["max_steps"]
    assert train(config, tmp_path).steps == 3
    alone = load_file(tmp_path / "run/model/model.safetensors")
    remove(tmp_path / "run/model")
    assert train(config, tmp_path, resume=True).steps == 3  # it takes the last state, and no step more
    again = load_file(tmp_path / "run/model/model.safetensors")
    assert all(torch.equal(alone[name], again[name]) for name in alone)
    for key, value, steps in [("num_train_epochs", 0.3, 2), ("max_steps", 1, 1)]:
        config["training"][key] = value
        with pytest.raises(ConfigError, match=rf"^training\.{key}: it makes {steps} steps, but .* saved at step 3"):
            train(config, tmp_path, resume=True)


def test_a_checkpoint_with_a_damaged_file_is_named(tmp_path):
    config = text_job(tmp_path, max_steps=3)
    train(config, tmp_path)
    remove(tmp_path / "run/model")
    config["training"]["max_steps"] = 4
    for name in ("trainer_state.json", "optimizer.pt", "rng_state.pth", "model.safetensors", "modules.json"):
        path = tmp_path / "run/checkpoint-3" / name
        whole = path.read_bytes()
        path.write_bytes(b"\0" * len(whole))
        with pytest.raises(RunError, match=rf"no whole checkpoint .*checkpoint-3/{name} is not what was saved"):
            train(config, tmp_path, resume=True)
        marked = json.loads((path.parent / COMPLETE).read_text())
        lengths = {file: length for file, (length, _) in marked.items()}
        (path.parent / COMPLETE).write_text(json.dumps(lengths))  # as an earlier version wrote it
        with pytest.raises(MmstError, match=r"checkpoint-3 is damaged and can't be read: .*Remove it to go on from"):
            train(config, tmp_path, resume=True)
        (path.parent / COMPLETE).write_text(json.dumps(marked))
        path.write_bytes(whole)
    (tmp_path / "run/environment.json").write_bytes(b"\xff{")  # as on a disk that was full
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert train(config, tmp_path, resume=True).steps == 4
    assert (tmp_path / "run/report.html").is_file()
    (tmp_path / "run/config.yaml").write_bytes(b"\xff{")
    with pytest.raises(RunError, match=r"^--resume: .*run/config.yaml can't be read: .*--overwrite"):
        train(config, tmp_path, resume=True)


def rewrite(path, change):
    rows = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [*rows, rows[0]], "48 rows then and 49 rows now. What"),
        (lambda rows: rows[::-1], "48 rows now, of other content or in another order"),
        (lambda rows: [{**rows[0], "doc": "elsewhere"}, *rows[1:]], "48 rows now, of other content or in another"),
    ],
)
def test_other_rows_are_refused_and_nothing_is_changed(change, words, tmp_path):
    config = text_job(tmp_path)
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    rewrite(tmp_path / "rows.jsonl", change)
    with pytest.raises(ConfigError, match=rf"^datasets\.pairs: the run was begun with other rows: .*{words}"):
        train(config, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_what_is_not_read_of_the_rows_may_change_and_other_rows_to_evaluate_are_told_of(tmp_path, capsys):
    config = text_job(tmp_path)
    config["datasets"]["few"] = {**config["datasets"]["pairs"], "use": "eval", "path": str(tmp_path / "few.jsonl")}
    config["evaluators"] = {"few": {"type": "MatryoshkaRetrievalEvaluator", "dataset": "few"}}
    (tmp_path / "few.jsonl").write_text("".join((tmp_path / "rows.jsonl").read_text().splitlines(True)[:8]))
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    rewrite(tmp_path / "rows.jsonl", lambda rows: [{**row, "kind": 7} for row in rows])
    rewrite(tmp_path / "few.jsonl", lambda rows: [{**rows[0], "query": "another"}, *rows[1:]])
    result = train(config, tmp_path, resume=True)
    assert "warning: datasets.few: it has other rows than when the run was begun" in capsys.readouterr().err
    assert "what was measured before training was measured on other queries" in result.verdict


def test_columns_and_sets_in_another_order_are_refused_by_their_key(tmp_path):
    config = text_job(tmp_path)
    columns = config["datasets"]["pairs"]["columns"]
    columns |= {name: {"role": "negative"} for name in ("first", "second")}
    config["datasets"]["more"] = {**config["datasets"]["pairs"], "columns": dict(columns)}
    record = begun(config, tmp_path)
    config["datasets"] = dict(reversed(config["datasets"].items()))
    columns["first"] = columns.pop("first")
    now = as_config(config, tmp_path / "now.yaml")
    with pytest.raises(ConfigError) as caught:
        check_resumable(changed_keys(record, now), record, now, tmp_path / "checkpoint-3")
    assert [fault.split(": ")[0] for fault in caught.value.faults] == ["datasets", "datasets.pairs.columns"]


def test_the_next_resume_goes_on_with_what_the_last_one_changed(tmp_path, capsys):
    config = text_job(tmp_path)
    train({**config, "training": {**config["training"], "max_steps": 3}}, tmp_path)
    config["training"]["learning_rate"] = 1e-6
    train(config, tmp_path, resume=True)
    capsys.readouterr()
    run_training(load_config(tmp_path / "run/config.yaml"), resume=True)
    assert "other values" not in capsys.readouterr().err
    assert load_config(tmp_path / "run/config.yaml").training["learning_rate"] == 1e-6


def test_a_refused_resume_leaves_the_run_as_it_was(tmp_path):
    config = text_job(tmp_path, max_steps=3)
    train(config, tmp_path)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    config["training"]["optim"] = "adafactor"
    with pytest.raises(MmstError, match=r"^training\.optim: the run was begun with left out, and now it is"):
        train(config, tmp_path, resume=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["optimizer.pt", "rng_state.pth", "trainer_state.json", "model.safetensors"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(name, tmp_path, capsys):
    """Every file has its length, as after a machine went down; the run ends as one that was left alone."""
    train(text_job(tmp_path), tmp_path)
    run = tmp_path / "run"
    alone = load_file(run / "model/model.safetensors")
    remove(run / "model")
    (run / "checkpoint-6" / name).write_bytes(bytes((run / "checkpoint-6" / name).stat().st_size))
    train(text_job(tmp_path), tmp_path, resume=True)
    said = " ".join(capsys.readouterr().err.split())
    assert f"checkpoint-6/{name} is not what was saved: the checkpoint is damaged." in said
    assert "checkpoint-6 was damaged or only half written, and was removed." in said
    ours = load_file(run / "model/model.safetensors")
    assert all(torch.equal(ours[name], alone[name]) for name in alone)


def test_where_no_checkpoint_is_any_good_nothing_is_removed(tmp_path):
    train(text_job(tmp_path), tmp_path)
    run = tmp_path / "run"
    for folder in run.glob("checkpoint-*"):
        (folder / "optimizer.pt").write_bytes(bytes((folder / "optimizer.pt").stat().st_size))
    with pytest.raises(RunError, match=r"^--resume: no whole checkpoint in"):
        train(text_job(tmp_path), tmp_path, resume=True)
    assert len(list(run.glob("checkpoint-*"))) == 2
