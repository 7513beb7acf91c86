"""`mmst plan`: what it says beside what training does, what it leaves alone, and what it refuses."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from counted_memory import limit
from planning.qwen_folder import write_folder
from planning.test_weightless_pass import SMALL_TEXT, SMALL_VISION
from rich.console import Console
from small_job import job, write_job
from text_job import evaluated, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.errors import ConfigError, ModelError
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.model.device_memory import MARGIN
from mmst_cli.planning.devices import DEVICES, GIB, find_device
from mmst_cli.planning.plan_page import probe_table, show_plan
from mmst_cli.planning.plan_result import FITS, STARVES, TOO_LARGE
from mmst_cli.planning.planned_run import with_fitting_size
from mmst_cli.runs import RunFolder
from mmst_cli.sources.tables import choose_indices
from mmst_cli.terminal import Terminal
from mmst_cli.training.plan import PlanOptions, run_plan
from mmst_cli.training.probed_sizes import probe_sizes
from mmst_cli.training.training_job import TrainingJob

H100 = DEVICES["h100-80"]


@pytest.fixture(autouse=True)
def short_measures(monkeypatch):
    monkeypatch.setattr("mmst_cli.training.measured_run.MOST", 3)


def plan(config, folder, quiet, device=H100, **options):
    return run_plan(load_config(write_job(config, folder / "job.yaml")), PlanOptions(device=device, **options), quiet)


def tokens_of_the_collator(config, quiet, dataset, column, rows):
    settings = load_config(config)
    prepared = prepare_evaluation(settings, quiet, list(settings.datasets))
    trainer = TrainingJob(settings, RunFolder(config.parent / "run"), prepared, quiet).build_trainer(config.parent, [])
    drawn = next(drawn for drawn, one in trainer.drawn if one.key == dataset)
    places = choose_indices(len(drawn), rows, settings.seed)
    batch = trainer.data_collator([drawn[place] for place in places])
    return batch[f"{column}_attention_mask"].sum(dim=1).tolist()


def test_tokens_are_those_of_the_collator(tmp_path, quiet):
    config = job(tmp_path)
    config["prompts"] = {"anchor": "Find the page: "}
    found = plan(config, tmp_path, quiet, rows=16)
    for name in ("query", "image"):
        counts = tokens_of_the_collator(tmp_path / "job.yaml", quiet, "train", name, 16)
        seen = next(
            one.sampled for one in found.facts.columns if one.sampled.column == name and not one.sampled.evaluated
        )
        assert seen.looked_at == 16 and seen.mean_tokens == pytest.approx(sum(counts) / 16)
        assert (seen.tokens["min"], seen.tokens["max"]) == (min(counts), max(counts))
        assert seen.tokens["median"] == pytest.approx(torch.tensor(counts).double().quantile(0.5).item())


def test_a_plan_for_a_device_needs_no_weights_and_writes_nothing(tmp_path, quiet):
    config = job(tmp_path, bf16=True, use_cpu=False)
    config["model"] = {"name_or_path": str(write_folder(tmp_path / "model", SMALL_TEXT, SMALL_VISION))}
    config["loss"][1]["args"]["matryoshka_dims"] = config["evaluators"]["pages"]["dims"] = [64, 32]
    config["matryoshka_dims"] = [64, 32]
    before = set(tmp_path.rglob("*"))
    found = plan(config, tmp_path, quiet, cost=2.5)
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "job.yaml"}
    assert found.facts.weights.bytes == 2 * found.facts.weights.parameters  # bfloat16, as the checkpoint says
    assert found.memory.peak < 2 * GIB and found.room == 80 * GIB and not found.unknown
    told = found.to_dict()
    assert json.loads(json.dumps(told)) == told and told["cost"][0] < told["cost"][1]
    assert told["host_bytes"] == 16 * sum(one["feature_bytes"] for one in told["columns"] if not one["evaluated"])
    assert told["work"]["steps"] == 4 and told["work"]["inputs_per_evaluation"] == 48


def test_without_weights_nothing_is_measured(tmp_path, quiet):
    config = job(tmp_path)
    config["model"] = {"name_or_path": str(write_folder(tmp_path / "model", SMALL_TEXT, SMALL_VISION))}
    with pytest.raises(ModelError, match=r"aren't on this machine.*--device h100-80 or .*put them there"):
        plan(config, tmp_path, quiet, device=None)
    config["model"] = {"name_or_path": "some/model"}
    with pytest.raises(ModelError, match=r"weights of some/model aren't on this machine.*: hf download some/model$"):
        plan(config, tmp_path, quiet, device=None)


def test_this_machine_is_measured_and_left_as_it_was(tmp_path, quiet):
    config = job(tmp_path, max_steps=12, eval_strategy="steps", eval_steps=6)
    before = set(tmp_path.rglob("*"))
    found = plan(config, tmp_path, quiet, device=None)
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "job.yaml"}
    measured = found.measured
    assert measured["steps"] == 3 and not measured["evaluation_estimated"]
    assert found.time.training == pytest.approx(12 * measured["step_seconds"])
    assert found.time.evaluating == pytest.approx(3 * measured["evaluation_seconds"])
    assert found.peak == measured["peak_bytes"] > 200 * 2**20
    assert found.verdict in (FITS, STARVES) and found.time.bounds[0] < found.time.total < found.time.bounds[1]


def test_what_does_not_fit_is_told_with_keys_that_mend_it(tmp_path, quiet):
    small = replace(DEVICES["rtx-3090-24"], memory=1.43 * GIB)
    config = job(tmp_path, per_device_train_batch_size=96)
    config["loss"][0]["args"]["mini_batch_size"] = 96
    found = plan(config, tmp_path, quiet, device=small, rows=4)
    assert found.verdict == TOO_LARGE and "it doesn't fit" in found.sentence
    assert 1 <= len(found.advice) <= 3
    keys = [advice.change.partition("=")[0] for advice in found.advice]
    assert "training.gradient_checkpointing" in keys or "loss.0.args.mini_batch_size" in keys
    assert all(advice.gibibytes > 0 for advice in found.advice)
    key, _, value = found.advice[0].change.partition("=")
    again = run_plan(load_config(tmp_path / "job.yaml", [f"{key}={value}"]), PlanOptions(device=small, rows=4), quiet)
    saved = (found.memory.peak - again.memory.peak) / GIB
    assert saved == pytest.approx(found.advice[0].gibibytes, rel=0.05)


def test_automatic_sizes_are_what_the_device_has_room_for(tmp_path, quiet):
    config = job(tmp_path, per_device_train_batch_size=96)
    config["loss"][0]["args"]["mini_batch_size"] = "auto"
    facts = plan(config, tmp_path, quiet, rows=4).facts
    sizes = [
        with_fitting_size(facts, replace(H100, memory=memory * GIB)).mini_batches.rows for memory in (1.42, 1.45, 80)
    ]
    assert 1 <= sizes[0] < sizes[1] < sizes[2] == 96


def test_a_probe_goes_on_until_there_is_no_room(tmp_path, quiet, monkeypatch):
    path = write_job(text_job(tmp_path, loss="CachedMultipleNegativesRankingLoss"), tmp_path / "job.yaml")
    config = load_config(path)
    prepared = prepare_evaluation(config, quiet, list(config.datasets))
    trained = TrainingJob(config, RunFolder(tmp_path / "run"), prepared, quiet)
    limit(monkeypatch, GIB)
    whole = probe_sizes(trained, quiet)
    assert [one["rows"] for one in whole] == [1, 2, 4, 8] and all(one["fits"] for one in whole)
    peaks = [one["peak_bytes"] for one in whole]
    assert peaks == sorted(peaks) and all(one["samples_per_second"] > 0 for one in whole)
    memory = limit(monkeypatch, int((peaks[1] + peaks[2]) / 2 / (1 - MARGIN)))
    found = probe_sizes(trained, quiet)
    assert [(one["rows"], one["fits"]) for one in found] == [(1, True), (2, True), (4, False)]
    assert [one["peak_bytes"] for one in found[:2]] == peaks[:2] and len(memory.peaks) == 3
    assert "mini-batch" in str(probe_table(found).columns[0].header)


def test_a_probe_is_for_gpus_and_losses_with_mini_batches(tmp_path, quiet):
    with pytest.raises(ConfigError, match="--probe: the loss takes no mini-batches"):
        plan(text_job(tmp_path), tmp_path, quiet, device=None, probe=True)
    cached = text_job(tmp_path, loss="CachedMultipleNegativesRankingLoss")
    with pytest.raises(ConfigError, match="--probe: the memory of the CPU isn't measured"):
        plan(cached, tmp_path, quiet, device=None, probe=True)


def test_what_a_stream_and_a_stranger_s_evaluator_hold_is_said_to_be_unknown(tmp_path, quiet):
    config = text_job(tmp_path, max_steps=5)
    config["datasets"]["train"]["streaming"] = True
    found = plan(config, tmp_path, quiet)
    assert found.facts.work.rows == {"train": None} and found.facts.work.steps == 5
    assert any("a stream has no length" in sentence for sentence in found.unknown)


@pytest.mark.parametrize("adapter", [{"r": 4}, {"r": 4, "merge": False}])
def test_an_adapter_alone_is_trained_and_saved(tmp_path, quiet, adapter):
    config = job(tmp_path)
    whole = plan(config, tmp_path, quiet, rows=4)
    config["model"]["adapter"] = adapter
    if not adapter.get("merge", True):
        config["model"] |= {"quantization": {}, "dtype": "bfloat16"}
    found = plan(config, tmp_path, quiet, rows=4)
    weights = found.facts.weights
    assert 0 < weights.trained < 0.2 * weights.parameters and weights.trained_bytes == 4 * weights.trained
    assert found.disk["checkpoint"] == 12 * weights.trained < whole.disk["checkpoint"]
    assert (weights.bytes < whole.facts.weights.bytes) is ("quantization" in config["model"])
    assert found.memory.gradients == weights.trained_bytes and found.memory.optimizer == 8 * weights.trained


def test_a_batch_is_of_one_set_and_of_all_its_columns_without_mini_batches(tmp_path, quiet):
    config = text_job(tmp_path, per_device_train_batch_size=16)
    alone = plan(config, tmp_path, quiet).memory.activations
    config["datasets"]["more"] = {**config["datasets"]["train"], "max_rows": 30}
    assert plan(config, tmp_path, quiet).memory.activations == pytest.approx(alone, rel=0.1)
    config["loss"] = [{"type": "CachedMultipleNegativesRankingLoss", "args": {"mini_batch_size": 16}}]
    assert plan(config, tmp_path, quiet).memory.activations < 0.8 * alone


def test_a_set_that_is_yet_to_be_mined_is_planned_with_its_negatives(tmp_path, quiet):
    config = text_job(tmp_path)
    plain = plan(config, tmp_path, quiet)
    config["datasets"]["train"]["mine"] = {"num_negatives": 3}
    mined = plan(config, tmp_path, quiet)
    assert len(mined.facts.of(evaluated=False)) == len(plain.facts.of(evaluated=False)) + 3
    assert mined.time.computing.high > plain.time.computing.high
    assert [one.sampled.column for one in mined.facts.columns[-3:]] == ["negative_1", "negative_2", "negative_3"]
    assert mined.not_counted == ["datasets.train.mine: mining its negatives before training."]
    measured = plan(config, tmp_path, quiet, device=None)
    assert measured.time.training > 1.2 * 6 * measured.measured["step_seconds"]  # which was without the negatives


def test_a_page_fits_80_columns(tmp_path, quiet):
    found = plan(job(tmp_path), tmp_path, quiet, cost=2.5)
    shown = Terminal(Console(file=io.StringIO(), width=80), json_results=True)
    show_plan(found, shown)
    lines = shown.console.file.getvalue().splitlines()
    tables = [line for line in lines if not line.startswith(("verdict", "1.", "2.", "3."))]
    assert max(map(len, tables)) <= 80
    assert any(line.split()[:1] == ["column"] for line in lines)  # no table was too wide to be one
    for word in ("parameters", "steps", "negatives an anchor", "feeding alone", "cost", "verdict: it fits"):
        assert any(word in line for line in lines), word


def told_of(config, folder, quiet, monkeypatch, **options):
    told = []
    monkeypatch.setattr(type(quiet), "warn", lambda self, message: told.append(message))
    plan(config, folder, quiet, **options)
    return [one for one in told if "are left out of every epoch" in one]


@pytest.mark.parametrize(("size", "processes", "left"), [(4, 1, 0), (5, 1, 4), (8, 1, 12), (4, 2, 12), (2, 2, 0)])
def test_rows_that_batches_never_come_to_are_told_of_a_device_that_isn_t_here(
    tmp_path, quiet, monkeypatch, size, processes, left
):
    """24 rows, of which 6 each have the same document: 4 rows at most make a batch."""
    rows = text_rows(24, doc=[f"page {i % 4}" for i in range(24)])
    training = {"batch_sampler": "no_duplicates", "max_steps": -1, "num_train_epochs": 1}
    config = text_job(tmp_path, rows, per_device_train_batch_size=size, **training)
    said = told_of(config, tmp_path, quiet, monkeypatch, processes=processes, rows=4)
    assert len(said) == bool(left)
    if left:
        assert f"at least {left} of 24 rows are left out" in said[0]
        assert f"per_device_train_batch_size to {4 // processes}," in said[0]
    config["training"]["batch_sampler"] = "batch_sampler"
    assert not told_of(config, tmp_path, quiet, monkeypatch, processes=processes, rows=4)


def test_several_processes_share_batches_and_evaluations(tmp_path, quiet):
    config = evaluated(text_job(tmp_path, per_device_train_batch_size=4, max_steps=-1, num_train_epochs=1))
    alone, several = (plan(config, tmp_path, quiet, cost=1.0, rows=4, processes=count) for count in (1, 4))
    work = several.facts.work
    assert (alone.facts.work.steps, work.steps, work.batch, work.step_rows) == (12, 3, 4, 16)
    assert alone.facts.work.negatives == work.negatives == {"train": 3}
    assert several.memory.gradients == 2 * alone.memory.gradients
    assert several.memory.activations == alone.memory.activations
    assert several.time.computing.high == pytest.approx(alone.time.computing.high / 4)
    assert several.costs[0] == pytest.approx(4 * several.seconds[0] / 3600)
    assert any("exchange gradients" in one for one in several.not_counted) and not alone.not_counted
    config["loss"][0]["args"] = {"gather_across_devices": True}
    gathered = plan(config, tmp_path, quiet, rows=4, processes=4)
    assert gathered.facts.work.negatives == {"train": 15}
    assert gathered.memory.activations > several.memory.activations


def test_what_a_job_does_beside_what_is_counted_is_named_in_a_line_each(tmp_path, quiet):
    config = evaluated(text_job(tmp_path, loss="GISTEmbedLoss", max_steps=-1, num_train_epochs=3))
    config["loss"][0]["args"] = {"guide": {"name_or_path": "builtin:tiny-text"}}
    config["datasets"]["train"]["mine"] = {"num_negatives": 1, "every_epochs": 2}
    config["datasets"]["judged"] = {**config["datasets"]["eval"]}
    config["training"]["push_to_hub"] = True
    names = ["datasets.train.mine", "datasets.judged", "loss.0.args.guide", "training.push_to_hub"]
    for device in (H100, None):
        found = plan(config, tmp_path, quiet, device=device, rows=4)
        assert [line.partition(":")[0] for line in found.not_counted] == names
        assert found.not_counted[0].endswith("before training, and again every 2 epochs.")
        shown = Terminal(Console(file=io.StringIO(), width=200), json_results=True)
        show_plan(found, shown)
        told = [line for line in shown.console.file.getvalue().splitlines() if line.startswith("not counted: ")]
        assert told == [f"not counted: {line}" for line in found.not_counted]


def test_devices_that_a_plan_of_this_machine_leaves_idle_are_told(tmp_path, quiet, monkeypatch):
    told = []
    monkeypatch.setattr("mmst_cli.training.plan.idle_devices", lambda device: f"idle beside {device}")
    monkeypatch.setattr(type(quiet), "warn", lambda self, message: told.append(message))
    plan(text_job(tmp_path), tmp_path, quiet, device=None)
    assert "idle beside cpu" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "h100"], "error: --device h100: no such device; there are h100-80, a100-80, l40s, rtx-4090,"),
        (["--cost", "-1"], "error: --cost: found -1; what an hour costs is 0 or more."),
        (["--num-processes", "0"], "error: --num-processes: 0; it takes 1 or more."),
        (["--num-processes", "2"], "error: --num-processes: what is measured here is one process;"),
        (["--rows", "0"], "error: --rows: found 0; at least 1 row is looked at."),
        (["--probe", "--device", "l40s"], "error: --probe: it tries this machine's own device; leave out --device."),
    ],
)
def test_bad_options_are_told_in_a_sentence_before_anything_is_loaded(tmp_path, arguments, said):
    path = write_job(text_job(tmp_path), tmp_path / "job.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "mmst_cli", "plan", str(path), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith(said) and not done.stdout


def test_devices_are_found_whatever_their_case():
    assert find_device("H100-80").memory == 80 * GIB
    with pytest.raises(ConfigError, match=r"Did you mean rtx-4090\?"):
        find_device("rtx4090")
