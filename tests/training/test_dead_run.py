"""Runs that would learn from what is no number: they end where they stand, name the rows, and save no model."""

import json
import math

import pytest
import torch
from text_job import LABELLED, PAIRS, run, text_job, text_rows
from torch import nn

from mmst_cli.errors import DataError, MmstError, WorkError
from mmst_cli.model.broken_weights import broken_weights
from mmst_cli.rows.columns import ROW
from mmst_cli.runs import RunFolder
from mmst_cli.training.dead_run import SKIPPED_IN_A_ROW, DeadRunError, DrawnRows, Watch


def dead(config, folder, terminal, **options):
    with pytest.raises(WorkError) as caught:
        run(config, folder, terminal, **options)
    assert caught.value.exit_code == 1
    assert not (folder / "run/model").exists()
    return str(caught.value)


def listed(folder, name="dead_batch.jsonl"):
    return [json.loads(line) for line in (folder / "run" / name).read_text().splitlines()]


class SpoilingLoss(nn.Module):
    """A loss that is NaN, or has such a gradient, where a text of a batch says so."""

    def __init__(self, model):
        super().__init__()
        self.model, self.value = model, math.nan

    def forward(self, features, labels):
        vectors = [self.model(feature)["sentence_embedding"] for feature in features]
        loss = (vectors[0] - vectors[1]).pow(2).mean()
        return loss * self.value if bool((labels > 0.5).any()) else loss


class SpoilingGradient(SpoilingLoss):
    def forward(self, features, labels):
        vectors = [self.model(feature)["sentence_embedding"] for feature in features]
        loss = (vectors[0] - vectors[1]).pow(2).mean()
        if bool((labels > 0.5).any()):
            vectors[0].register_hook(lambda gradient: gradient * math.inf)
        return loss


class SpoiledEvaluation(SpoilingLoss):
    """NaN where a text of a batch says so, in evaluation alone: what half precision can't hold, say."""

    def forward(self, features, labels):
        return super().forward(features, labels * 0 if torch.is_grad_enabled() else labels)


@pytest.fixture
def own_loss(monkeypatch):
    """A function that lets a job train with a loss of this module."""
    import mmst_cli.training.training_job as job_module

    def use(kind):
        monkeypatch.setattr(job_module, "build_losses", lambda config, model, names: kind(model))

    return use


@pytest.mark.parametrize("kind", [SpoilingLoss, SpoilingGradient])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_rows_of_the_batch_and_the_checkpoint_before_it_are_named(tmp_path, quiet, own_loss, kind, accumulated):
    own_loss(kind)
    rows = text_rows(48, score=[float(i == 29) for i in range(48)])
    config = text_job(tmp_path, rows, "CoSENTLoss", LABELLED, save_strategy="steps", save_steps=1, max_steps=20)
    config["training"] |= {"gradient_accumulation_steps": accumulated, "seed": 5, "save_total_limit": 1}
    said = dead(config, tmp_path, quiet)
    found = listed(tmp_path)
    assert {"dataset": "train", "row": 29} in found
    assert len(found) == (8 if kind is SpoilingLoss else 8 * accumulated)
    assert ("the loss is nan" if kind is SpoilingLoss else "its gradient is") in said
    step = int(said.split(":")[0].removeprefix("step "))
    whole = RunFolder(tmp_path / "run").checkpoints()
    if step > 1:
        assert [path.name for path in whole] == [f"checkpoint-{step - 1}"]
        assert f"The last whole checkpoint is {whole[-1]}: " in said and f"goes on from step {step - 1}." in said
    assert str(tmp_path / "run/dead_batch.jsonl") in said


def test_an_evaluated_loss_that_is_no_number_ends_the_run_there(tmp_path, quiet, own_loss):
    own_loss(SpoiledEvaluation)
    rows = text_rows(48, score=[float(i == 29) for i in range(48)])
    steps = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    config = text_job(tmp_path, rows, "CoSENTLoss", LABELLED, **steps, per_device_eval_batch_size=4)
    config["datasets"]["eval"] = {**config["datasets"]["train"], "use": "eval"}
    said = dead(config, tmp_path, quiet)
    assert said.startswith("step 2: the loss of a batch that is evaluated is nan. The rows of the batch are listed in")
    assert {"dataset": "eval", "row": 29} in listed(tmp_path) and len(listed(tmp_path)) == 4


def test_a_learning_rate_that_breaks_the_weights(tmp_path, quiet):
    said = dead(text_job(tmp_path, learning_rate=1e20, warmup_steps=0, max_grad_norm=0), tmp_path, quiet)
    assert said.startswith("step 2: ") and "No model was saved. Lower training.learning_rate" in said
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert all(math.isfinite(line["loss"]) for line in logged)
    run(text_job(tmp_path, max_steps=2), tmp_path, quiet, overwrite=True)
    assert not (tmp_path / "run/dead_batch.jsonl").exists()


def test_weights_that_the_last_step_breaks_are_not_saved(tmp_path, quiet):
    config = text_job(tmp_path, learning_rate=1e39, warmup_steps=0, max_steps=1, lr_scheduler_type="constant")
    assert "are not finite after it" in dead(config, tmp_path, quiet)
    config["training"] |= {"save_strategy": "steps", "save_steps": 1}
    assert "are not finite after it" in dead(config, tmp_path, quiet, overwrite=True)
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_the_rows_of_lists_and_of_streams_are_found_again(tmp_path, quiet, own_loss, monkeypatch):

    class Broken(SpoilingLoss):
        def forward(self, features, labels):
            return (self.model(features[0])["sentence_embedding"] * math.inf).mean()

    own_loss(Broken)
    rows = [{**row, "doc": [row["doc"], row["doc"] + " too"]} for row in text_rows(10)]
    config = text_job(tmp_path, rows)
    dead(config, tmp_path, quiet)
    found = listed(tmp_path)
    assert len(found) == 8 and all(0 <= line["row"] < 10 and line["entry"] in (0, 1) for line in found)
    (tmp_path / "stream").mkdir()
    config = text_job(tmp_path / "stream")
    config["datasets"]["train"]["streaming"] = True
    dead(config, tmp_path / "stream", quiet)
    found = listed(tmp_path / "stream")
    assert len(found) == 8
    assert all(line["row"] is None and line["texts"]["query"].startswith("where is ") for line in found)


def rows_of(name):
    return DrawnRows("train", ({"__row__": name},))


def test_scaled_steps_may_be_left_out_but_not_for_ever():
    watch = Watch()
    for step in range(1, SKIPPED_IN_A_ROW):
        watch.add(rows_of(step), torch.tensor(1.0))
        watch.check(step, torch.tensor(math.inf), scaled=True)
    watch.add(rows_of(0), torch.tensor(1.0))
    watch.check(30, 1.0, scaled=True)  # a good one between
    for step in range(1, SKIPPED_IN_A_ROW):
        watch.add(rows_of(step), torch.tensor(1.0))
        watch.check(step, math.nan, scaled=True)
    watch.add(rows_of(99), torch.tensor(1.0))
    with pytest.raises(DeadRunError, match="not finite in 30 steps in a row") as caught:
        watch.check(61, math.nan, scaled=True)
    assert caught.value.batches == [rows_of(99)]
    watch.add(rows_of(7), torch.tensor(math.nan))
    with pytest.raises(DeadRunError, match="step 62: the loss is nan"):
        watch.check(62, 1.0, scaled=True)


@pytest.mark.parametrize(("theirs", "rows"), [(math.nan, [9]), (1.0, [5, 9])])
def test_the_rows_are_those_of_the_process_whose_loss_it_was(monkeypatch, theirs, rows):
    """Or of all, where every loss is a number: the gradient is that of all."""

    def gather(mine):
        return json.loads(json.dumps([mine, [(theirs, ["train", [{ROW: 9}]])]]))

    monkeypatch.setattr("mmst_cli.processes.gather", gather)
    watch = Watch()
    watch.add(DrawnRows("train", ({ROW: 5},)), torch.tensor(1.0))
    with pytest.raises(DeadRunError) as raised:
        watch.check(3, math.nan, scaled=False)
    assert [row[ROW] for batch in raised.value.batches for row in batch.rows] == rows


def test_broken_weights_are_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert broken_weights(model) is None
    model[1].bias.data[0] = -math.inf
    assert broken_weights(model) == "1.bias"


# Labels


@pytest.mark.parametrize("label", [math.nan, math.inf, -math.inf, 1e39, None])
def test_a_label_that_is_no_finite_number_is_named_before_training(tmp_path, quiet, label):
    rows = text_rows(48, score=[label if i == 33 else i / 48 for i in range(48)])
    config = text_job(tmp_path, rows, "CosineSimilarityLoss", LABELLED)
    with pytest.raises(DataError, match=r"datasets\.train, row 33, column score: "):
        run(config, tmp_path, quiet)
    assert not (tmp_path / "run").exists()
    config["datasets"]["train"]["on_bad_row"] = "skip"
    run(config, tmp_path, quiet)
    assert [line["row"] for line in listed(tmp_path, "skipped_rows.jsonl")] == [33]
    assert (tmp_path / "run/model").is_dir()


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "null"])
def test_labels_of_json_in_a_second_set(tmp_path, quiet, written):
    lines = [json.dumps(row) for row in text_rows()]
    lines[40] = lines[40].replace(f'"score": {40 / 48}', f'"score": {written}')
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    config = text_job(tmp_path, None, "CosineSimilarityLoss", LABELLED)
    config["datasets"]["more"] = {**config["datasets"]["train"], "path": str(tmp_path / "more.jsonl")}
    with pytest.raises(DataError, match=r"datasets\.more, row 40, column score: "):
        run(config, tmp_path, quiet)


def test_labels_of_a_stream(tmp_path, quiet, monkeypatch):
    rows = text_rows(48, score=[math.nan if i == 40 else i / 48 for i in range(48)])
    config = text_job(tmp_path, rows, "CosineSimilarityLoss", LABELLED)
    config["datasets"]["train"]["streaming"] = True
    with pytest.raises(MmstError, match="a row of the stream, column score: the label is nan"):
        run(config, tmp_path, quiet)
    config["datasets"]["train"]["on_bad_row"] = "skip"
    run(config, tmp_path, quiet, overwrite=True)
    assert len(listed(tmp_path, "skipped_rows.jsonl")) == 1


def test_lists_of_a_stream_that_differ_in_length(tmp_path, quiet, monkeypatch):
    pair = [[0.5] if i == 40 else [0.5, i / 48] for i in range(48)]
    columns = {**PAIRS, "other": {"role": "negative"}, "pair": {"role": "label"}}
    config = text_job(tmp_path, text_rows(48, other=["none"] * 48, pair=pair), "MarginMSELoss", columns)
    config["datasets"]["train"]["streaming"] = True
    with pytest.raises(MmstError, match=r"columns\.pair: a batch has labels that are lists of . and of . numbers"):
        run(config, tmp_path, quiet)
