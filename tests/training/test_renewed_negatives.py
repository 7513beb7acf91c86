"""`mine.every_epochs`: negatives mined again as epochs begin, by the model as trained so far."""

import json
import os
import signal
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console
from safetensors.numpy import load_file
from small_job import write_job
from text_job import PAIRS, run, text_job, text_rows

from mmst_cli.builtin.registry import build_builtin
from mmst_cli.config.load import load_config
from mmst_cli.config.schema import MineConfig
from mmst_cli.errors import ConfigError, Interrupted, RunError, WorkError
from mmst_cli.runs import RunFolder
from mmst_cli.terminal import Terminal
from mmst_cli.training import renewed_negatives

PER_EPOCH = 6


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MMST_CACHE", str(tmp_path / "cache"))


def make_job(folder, epochs=3, mine=None, rows=None, columns=PAIRS, **training):
    """Return a job of texts, 6 steps an epoch."""
    folder.mkdir(exist_ok=True)
    settings = {"num_train_epochs": epochs, "learning_rate": 3e-3, "batch_sampler": "no_duplicates", **training}
    config = text_job(folder, rows, columns=columns, **settings)
    if "max_steps" not in training:
        del config["training"]["max_steps"]
    config["datasets"]["train"]["mine"] = {"num_negatives": 2, "every_epochs": 1, **(mine or {})}
    return config


@pytest.fixture
def job(tmp_path):
    """A function giving a job in a folder of its own."""
    return lambda name="run", **settings: make_job(tmp_path / name, **settings)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run that was left alone: its config."""
    folder = tmp_path_factory.mktemp("alone")
    config = make_job(folder / "run", save_strategy="epoch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMST_CACHE", str(folder / "cache"))
        train(config, Terminal(Console(file=StringIO())))
    return config


def train(config, quiet, **options):
    return run(config, RunFolder(config_path(config)).path.parent, quiet, **options)


def config_path(config):
    return Path(config["output_dir"])


def said(quiet):
    return " ".join(quiet.console.file.getvalue().split())


def weights(config):
    return load_file(config_path(config) / "model/model.safetensors")


def losses(config):
    lines = (config_path(config) / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def rounds(config):
    lines = (config_path(config) / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["mined"]) for line in map(json.loads, lines) if "mined" in line]


def assert_same_end(ours, theirs):
    assert losses(ours) == losses(theirs)
    one, other = weights(ours), weights(theirs)
    assert all(np.array_equal(one[name], other[name]) for name in other)
    files = [{p.name: p.read_bytes() for p in RunFolder(config_path(c)).negatives.iterdir()} for c in (ours, theirs)]
    assert files[0] == files[1]


def test_an_epoch_has_the_negatives_that_the_model_finds_then(alone, quiet, tmp_path, text_model_class):
    folder = RunFolder(config_path(alone))
    names = [path.name for path in sorted(folder.negatives.iterdir())]
    assert names == [f"train.epoch-{n}.step-{n * PER_EPOCH}.safetensors" for n in (1, 2)]
    for number in (1, 2):
        stored = load_file(folder.negatives / names[number - 1])
        model = text_model_class(str(folder.path / f"checkpoint-{number * PER_EPOCH}"), device="cpu")
        np.testing.assert_array_equal(stored["negatives"], mined_by(model, alone, quiet, tmp_path / f"work{number}"))
    told, log = rounds(alone), folder.log.read_text()
    assert [step for step, _ in told] == [PER_EPOCH, 2 * PER_EPOCH]
    assert all(one["negatives"] == 96 and 0 < one["changed"] <= 96 and one["seconds"] > 0 for _, one in told)
    first = told[0][1]
    assert f"negatives: train: renewed for epoch 2 in {first['seconds']:.1f} s: {first['changed']} of 96" in log
    card = (folder.model / "README.md").read_text()
    for text in (card, folder.report.read_text()):
        assert f"negatives renewed at the beginning of epoch 2 ({first['changed'] / 96:.1%} changed), epoch 3" in text
    assert "mining" in log.split("time in training:")[1]


@pytest.fixture
def text_model_class():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer


def mined_by(model, config, quiet, work):
    from mmst_cli.mining.negative_search import Search, mine_rows
    from mmst_cli.model.precision import Precision
    from mmst_cli.rows.row_preparation import prepare_rows

    rows = prepare_rows("train", load_config(config_path(config).parent / "job.yaml").datasets["train"], 42)
    work.mkdir()
    found = mine_rows(Search(rows, model, MineConfig(num_negatives=2), work, Precision(), 42), quiet)
    assert found.kept.tolist() == list(range(48))
    return found.negatives


def test_only_later_epochs_differ_from_mining_once(job, alone, quiet):
    once, again = job(mine={"every_epochs": None, "model": "self"}), alone
    train(once, quiet)
    assert losses(once)[:PER_EPOCH] == losses(again)[:PER_EPOCH]
    assert losses(once)[PER_EPOCH] != losses(again)[PER_EPOCH]
    assert not rounds(once) and not RunFolder(config_path(once)).negatives.exists()


def test_rounds_every_second_epoch_and_the_first_by_another_model(job, quiet, tmp_path, text_model_class):
    text_model_class(str(build_builtin("builtin:tiny-text")), device="cpu").save_pretrained(str(tmp_path / "teacher"))
    config = job(epochs=5, mine={"every_epochs": 2, "model": str(tmp_path / "teacher")})
    train(config, quiet)
    assert [step for step, _ in rounds(config)] == [2 * PER_EPOCH, 4 * PER_EPOCH]
    assert said(quiet).count(f"of train with {tmp_path / 'teacher'} on cpu") == 1
    assert said(quiet).count("of train with builtin:tiny-text as trained so far on cpu") == 2


def test_a_dry_run_mines_no_round(job, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr(renewed_negatives, "mine_round", lambda *_: pytest.fail("mined"))
    config = job()
    assert train(config, quiet, dry_run=True).dry_run
    assert not config_path(config).exists()


WORKERS = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}


@pytest.mark.parametrize(
    ("at", "workers"),
    [("step 9/", {}), ("step 6/", {}), pytest.param("step 13/", WORKERS, marks=pytest.mark.slow)],
)
def test_stopped_and_resumed_it_ends_as_one_left_alone(job, alone, quiet, at, workers):
    stopped = job(save_strategy="steps", save_steps=4, **workers)
    say = quiet.say

    def say_and_stop(message="", *rest, **style):
        say(message, *rest, **style)
        if str(message).startswith(at):
            quiet.say = say
            os.kill(os.getpid(), signal.SIGTERM)

    quiet.say = say_and_stop
    with pytest.raises(Interrupted):
        train(stopped, quiet)
    train(stopped, quiet, resume=True)
    assert_same_end(stopped, alone)
    assert len(rounds(stopped)) == 2


@pytest.mark.slow
def test_killed_behind_a_round_it_is_mined_again_from_the_checkpoint(job, alone, quiet, pair, tmp_path):
    """Killed at step 11 with a checkpoint of step 4: the negatives of epoch 2 were mined at step 6."""
    killed = job("killed", save_strategy="steps", save_steps=4)
    path = write_job(killed, tmp_path / "killed/job.yaml")
    ended = pair.run(tmp_path, "train", str(path), count=1, send=("step 11/", signal.SIGKILL))
    assert ended.codes == [-signal.SIGKILL]
    folder = RunFolder(config_path(killed))
    for checkpoint in folder.checkpoints()[1:]:
        (checkpoint / "complete.json").unlink()
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-4"]
    (folder.negatives / "work").mkdir(exist_ok=True)
    (folder.negatives / "work/query-00000.npy").write_bytes(b"of a round that was killed")
    train(killed, quiet, resume=True)
    assert_same_end(killed, alone)


@pytest.mark.parametrize("saved", [4, 6])
def test_broken_off_in_a_round(job, alone, quiet, saved, monkeypatch):
    broken = job(save_strategy="steps", save_steps=saved)
    mine = renewed_negatives.mine_round

    def dies(config, mined, *arguments):
        work = arguments[2]
        work.mkdir(parents=True)
        (work / "document-00000.npy").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(renewed_negatives, "mine_round", dies)
    with pytest.raises(KeyboardInterrupt):
        train(broken, quiet)
    assert not list(RunFolder(config_path(broken)).negatives.glob("*.safetensors"))
    monkeypatch.setattr(renewed_negatives, "mine_round", mine)
    train(broken, quiet, resume=True)
    assert_same_end(broken, alone)


def test_negatives_that_are_gone_or_damaged_are_told(job, quiet):
    config = job(save_strategy="steps", save_steps=4)
    train(config, quiet)
    folder = RunFolder(config_path(config))
    for checkpoint in folder.checkpoints()[2:]:
        (checkpoint / "complete.json").unlink()  # 8 is the last, in epoch 2
    path = folder.round_of("train", 1)
    whole = path.read_bytes()
    path.write_bytes(b"half")
    with pytest.raises(RunError, match="is damaged"):
        train(config, quiet, resume=True)
    path.unlink()
    with pytest.raises(RunError, match=r"that datasets.train had from epoch 2 on are not in .*negatives"):
        train(config, quiet, resume=True)
    path.write_bytes(whole)
    train(config, quiet, resume=True)


def test_a_row_that_gets_too_few_keeps_what_it_had(job, quiet, monkeypatch):
    """Limits that the trained model's scores don't meet: no row is lost, for an epoch has as many steps as before."""
    config = job(mine={"max_score": 0.97, "range_max": 40, "num_negatives": 1}, epochs=2, learning_rate=3e-2)
    train(config, quiet)
    (_, told), *_ = rounds(config)
    stored = load_file(RunFolder(config_path(config)).round_of("train", 1))
    assert len(stored["kept"]) == told["negatives"] and len(losses(config)) == 2 * -(-told["negatives"] // 8)


def test_lists_that_are_filled_up_are_renewed_where_they_were_filled(job, quiet):
    rows = text_rows(48, hard=[[f"never {i} {k}" for k in range(i % 3)] for i in range(48)])
    columns = {**PAIRS, "hard": {"role": "negative", "take": 2, "fill": "mine"}}
    config = job(rows=rows, columns=columns, epochs=2)
    train(config, quiet)
    (_, told), *_ = rounds(config)
    assert told["negatives"] == sum(2 - i % 3 for i in range(48)) and told["changed"] > 0
    card = (config_path(config) / "model/README.md").read_text()
    assert "48 of 96 in hard filled (mine); negatives renewed at the beginning of epoch 2" in card


def test_where_no_list_lacks_any_there_is_nothing_to_renew(job, quiet):
    rows = text_rows(48, hard=[[f"never {i}"] for i in range(48)])
    columns = {**PAIRS, "hard": {"role": "negative", "take": 1, "fill": "mine"}}
    config = job(rows=rows, columns=columns, epochs=2, mine={"min_positive_score": -1.0})
    train(config, quiet)
    assert "mine.every_epochs: no list lacks a negative" in said(quiet) and not rounds(config)


def test_a_finished_run_that_is_resumed_tells_of_its_rounds(job, quiet):
    config = job(epochs=2, save_strategy="epoch")
    train(config, quiet)
    card = (config_path(config) / "model/README.md").read_text()
    train(config, quiet, resume=True)
    assert (config_path(config) / "model/README.md").read_text() == card
    assert "negatives renewed at the beginning of epoch 2" in card


def test_the_section_in_the_docs_is_one(job, quiet):
    page = (Path(__file__).parents[2] / "docs" / "hard-negatives.md").read_text(encoding="utf-8")
    block = next(block for block in page.split("```yaml\n") if "every_epochs: 1" in block.split("```")[0])
    told = yaml.safe_load(block.split("```")[0])
    mine = told["datasets"]["train"]["mine"]
    config = job(mine={**mine, "relative_margin": None}, **told["training"])
    assert train(config, quiet, dry_run=True).dry_run and mine["model"] == "self"


def test_one_of_several_sets(job, quiet):
    config = job()
    config["datasets"]["other"] = {**config["datasets"]["train"], "mine": {"num_negatives": 1}, "weight": 0.5}
    config["datasets"]["train"]["weight"] = 1.5
    train(config, quiet)
    assert {one["dataset"] for _, one in rounds(config)} == {"train"} and len(rounds(config)) == 2


def test_overwritten_it_begins_without_negatives_of_before(job, quiet):
    config = job(epochs=2)
    train(config, quiet)
    config["datasets"]["train"]["mine"]["every_epochs"] = None
    train(config, quiet, overwrite=True)
    assert not RunFolder(config_path(config)).negatives.exists()


def test_steps_that_never_reach_a_round_are_refused(job, quiet):
    config = job(max_steps=PER_EPOCH)
    with pytest.raises(ConfigError, match=r"datasets.train.mine.every_epochs: found 1, .*ends in its first epoch"):
        train(config, quiet)
    assert not config_path(config).exists()
    config["training"]["max_steps"] = PER_EPOCH + 1
    train(config, quiet)
    assert [step for step, _ in rounds(config)] == [PER_EPOCH]


def test_a_model_that_is_lost_is_not_mined_with(job, quiet, monkeypatch):
    from mmst_cli.training.trainer import RunTrainer

    config = job()
    lost = []

    def lose(self):
        lost.append(self.state.global_step)
        for parameter in self.model.parameters():
            parameter.data.fill_(float("nan"))
        check(self)

    check = RunTrainer.check_weights
    monkeypatch.setattr(RunTrainer, "check_weights", lose)
    with pytest.raises(WorkError, match=r"step 6: the weights in .* are not finite"):
        train(config, quiet)
    assert lost == [PER_EPOCH]
    assert not list(RunFolder(config_path(config)).path.glob("negatives/*"))
