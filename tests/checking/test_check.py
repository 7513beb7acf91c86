"""`mmst check` as a whole: what is planted is found, nothing else is, and a killed check goes on."""

import json
import signal
import time
from collections import Counter

import pytest
from small_job import job as small_job
from small_job import write_job
from typer.testing import CliRunner

from mmst_cli.checking.check_summary import verdict
from mmst_cli.checking.findings import DROPPED, KINDS
from mmst_cli.cli import app
from mmst_cli.errors import ConfigError, RunError


def rows_of(result, kind):
    return {row for finding in result.findings if finding.kind == kind for row in finding.rows}


def test_what_is_planted_is_found_and_nothing_else(spoilt, planted, check):
    result = check(spoilt.config)
    for kind, right in planted.KINDS.items():
        wanted = {row for row, own in spoilt.faults.items() if own == kind}
        assert wanted <= rows_of(result, right), kind
    dropped = set().union(*(rows_of(result, kind) for kind in DROPPED))
    assert dropped == set(spoilt.faults)


def test_findings_come_in_order_of_harm_with_examples_and_advice(spoilt, check):
    result = check(spoilt.config)
    harms = [finding.harm for finding in result.findings]
    assert harms == sorted(harms)
    assert all(finding.sentence and finding.advice and finding.count <= finding.of for finding in result.findings)
    assert all(finding.examples for finding in result.findings if finding.kind in DROPPED)
    assert set(result.failed) == {"broken", "wrong-content", "leakage", "own-positive"}


def test_whole_data_have_no_findings(tmp_path, check):
    result = check(write_job(small_job(tmp_path), tmp_path / "job.yaml"), model=True)
    assert not result.findings
    assert not result.failed
    image = result.columns["train"]["image"]
    assert image["different"] == image["rows"] == 96
    assert image["width"]["median"] == 96
    assert image["processed"]["pixels_seen"]["max"] > 0
    assert result.columns["train"]["query"]["processed"]["truncated"] == 0
    assert result.columns["train"]["query"]["languages"]["en"] > 0.9


def test_the_folder_holds_a_page_and_json_and_nothing_half_done(spoilt, check, tmp_path):
    result = check(spoilt.config)
    folder = tmp_path / "check"
    assert sorted(path.name for path in folder.iterdir()) == ["check.html", "check.json"]
    stored = json.loads((folder / "check.json").read_text())
    assert stored == json.loads(json.dumps(result.to_dict()))
    leak = next(one for one in stored["findings"] if one["kind"] == "leakage")
    assert leak["harm"] == "serious"
    assert {cell["dataset"] for cell in leak["examples"][0]["cells"]} == {"train", "eval"}


def test_cleaned_rows_are_those_without_faults_and_train_as_they_stand(spoilt, check, tmp_path, quiet):
    from mmst_cli.config.rules import load_checked_config
    from mmst_cli.training.train import run_training

    target = tmp_path / "elsewhere" / "clean.parquet"
    result = check(spoilt.config, write_clean=target)
    assert (result.cleaned.kept, result.cleaned.dropped) == (60, 30)
    reasons = [json.loads(line) for line in target.with_name("clean.dropped.jsonl").read_text().splitlines()]
    assert {line["row"] for line in reasons} == set(spoilt.faults)
    assert all(line["kind"] in KINDS and line["reason"] for line in reasons)
    overrides = [
        f"datasets.train.path={target}",
        f"output_dir={tmp_path / 'run'}",
        "training.per_device_train_batch_size=8",
    ]
    settings = load_checked_config(spoilt.config, overrides)
    outcome = run_training(settings, dry_run=True, terminal=quiet)
    assert "everything fits together" in outcome.verdict


def test_only_the_kinds_that_are_named_are_dropped(spoilt, check, tmp_path):
    result = check(spoilt.config, write_clean=tmp_path / "clean.parquet", drop=("broken",))
    assert result.cleaned.dropped == 3


def test_a_sample_finds_identical_rows_among_all_of_them(spoilt, check):
    """What is stored alike is told without a look, so that a sample of one row finds leaks and copies."""
    result = check(spoilt.config, sample=1)
    faults = {kind: {row for row, own in spoilt.faults.items() if own == kind} for kind in spoilt.faults.values()}
    assert faults["exact duplicate"] <= rows_of(result, "duplicates")
    assert {row for row in faults["eval page"] if row % 2} <= rows_of(result, "leakage")
    assert not rows_of(result, "broken") - faults["truncated file"]


def test_a_sample_that_holds_every_row_is_said_to(spoilt, check):
    assert verdict(check(spoilt.config, sample=1_000)).startswith("Every row was looked at")
    assert verdict(check(spoilt.config, sample=2, overwrite=True)).startswith("Of each dataset up to 2 rows were")


def test_kinds_to_fail_on_can_be_chosen(spoilt, check, tmp_path):
    assert check(spoilt.config, fail_on=("blank",)).failed == ["blank"]
    assert check(spoilt.config, fail_on=(), overwrite=True).failed == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fail_on": ("leaks",)}, "--fail-on: leaks: there are broken, .* Did you mean leakage"),
        ({"drop": ("truncated",)}, "--drop: truncated: there are broken"),
        ({"workers": 0}, "--workers: 0; write a whole number above 0"),
        ({"sample": 0}, "--sample: 0"),
        ({"resume": True, "overwrite": True}, "Choose one"),
        ({"dataset": "train"}, "--dataset: it says what --write-clean writes"),
        ({"write_clean": "a.parquet", "sample": 5}, "--write-clean: .* Add --all"),
        ({"write_clean": "a.csv"}, "name a .parquet file"),
        ({"write_clean": "a.parquet", "dataset": "trian"}, "--dataset: trian: the config has train, eval"),
        ({"resume": True}, "--resume: .* holds no check to go on with"),
    ],
)
def test_wrong_options_are_told_before_anything_is_read(spoilt, check, tmp_path, options, said):
    from pathlib import Path

    if "write_clean" in options:
        options = {**options, "write_clean": Path(tmp_path / options["write_clean"])}
    with pytest.raises((ConfigError, RunError), match=said):
        check(spoilt.config, **options)
    assert not (tmp_path / "check").exists()


def test_nothing_that_is_there_is_replaced_unasked(spoilt, check, tmp_path):
    check(spoilt.config)
    with pytest.raises(RunError, match=r"holds a check\. Add --overwrite"):
        check(spoilt.config)
    (tmp_path / "check" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds other files, such as notes\.txt"):
        check(spoilt.config, overwrite=True)
    (tmp_path / "clean.parquet").write_text("mine")
    with pytest.raises(RunError, match=r"clean\.parquet exists"):
        check(spoilt.config, write_clean=tmp_path / "clean.parquet", output=tmp_path / "other")


def test_the_command_says_what_was_found_and_fails(spoilt, tmp_path):
    arguments = ["check", spoilt.config, "--all", "--output", tmp_path / "out", "--no-model"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    assert "serious: leakage  train" in result.output
    assert "check.html" in result.output
    result = CliRunner().invoke(app, [*map(str, arguments), "--overwrite", "--fail-on", "none", "--json"])
    assert result.exit_code == 0
    assert Counter(finding["kind"] for finding in json.loads(result.stdout)["findings"])["broken"] == 1


def test_a_mistake_is_one_sentence_and_nothing_is_left(spoilt, tmp_path):
    arguments = ["check", spoilt.config, "datasets.train.path=nowhere.jsonl", "--output", tmp_path / "out"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    assert "error: datasets.train.path: nowhere.jsonl: no such file or folder." in result.output
    assert not (tmp_path / "out").exists()


def test_what_training_would_refuse_is_refused(spoilt, tmp_path):
    wrong = {
        "evaluators.pages.dims=[4096]": "4096: the model's embeddings have 128 dimensions",
        "training.dataloader_prefetch_factor=2": "training.dataloader_prefetch_factor: found 2",
        "datasets.train.columns.image.modality=audio": "audio: the model takes text, image, video",
    }
    for override, said in wrong.items():
        arguments = ["check", spoilt.config, override, "--output", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 2, (override, result.output)
        assert said in result.output, (override, result.output)


@pytest.mark.slow
def test_a_killed_check_goes_on_and_finds_the_same(pair, spoilt, tmp_path):
    command = ["check", str(spoilt.config), "--all", "--no-model", "--workers", "1"]
    pair.alone(tmp_path, *command, "--output", "whole")
    target = tmp_path / "killed"
    parts = []
    for attempt in range(12):
        resume = "--resume" if (target / ".work" / "job.json").is_file() else "--overwrite"
        before = len(list((target / ".work").glob("*.parquet")))
        process = pair.start(tmp_path, *command, "--output", str(target), resume)
        while process.poll() is None:
            if len(list((target / ".work").glob("*.parquet"))) > before + attempt // 4:
                process.signal(signal.SIGKILL, group=True)
                break
            time.sleep(0.01)
        process.wait()
        parts.append(before)
        if (target / "check.json").is_file():
            break
    assert (target / "check.json").read_text() == (tmp_path / "whole" / "check.json").read_text()
    assert max(parts) > 0  # it was killed on the way at least once


def test_another_check_is_not_taken_up(spoilt, check, tmp_path):
    work = tmp_path / "check" / ".work"
    work.mkdir(parents=True)
    (work / "job.json").write_text(json.dumps({"job": "another"}))
    with pytest.raises(RunError, match=r"was begun with another config, sample or data"):
        check(spoilt.config, resume=True)
    with pytest.raises(RunError, match=r"a check that was interrupted\. Add --resume"):
        check(spoilt.config)
