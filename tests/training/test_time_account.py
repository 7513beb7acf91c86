import json
from types import SimpleNamespace

import pytest
import torch
from text_job import run, text_job
from torch import nn

from mmst_cli.time_shares import KINDS, add_up, in_shares
from mmst_cli.training import time_account
from mmst_cli.training.model_flops import FlopMeter, peak_flops
from mmst_cli.training.time_account import TimeAccount, advice


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(at=0.0)
    monkeypatch.setattr(time_account.time, "perf_counter", lambda: now.at)
    return now


def test_work_within_other_work_is_counted_once(clock):
    account = TimeAccount(torch.device("cpu"))
    with account.spent("backward"):
        clock.at += 1
        with account.spent("forward"):
            clock.at += 3
        clock.at += 4
    clock.at += 0.5
    seconds = account.take()
    assert list(seconds) == list(KINDS)
    assert (seconds["backward"], seconds["forward"], seconds["other"]) == (5, 3, 0.5)
    assert sum(account.take().values()) == 0


def test_what_an_evaluation_does_is_evaluation_and_an_error_ends_what_it_was_raised_in(clock):
    account = TimeAccount(torch.device("cpu"))
    with pytest.raises(ValueError), account.spent("evaluation"), account.spent("forward"):
        clock.at += 2
        raise ValueError
    with account.spent("saving"):
        clock.at += 1
    seconds = account.take()
    assert (seconds["evaluation"], seconds["forward"], seconds["saving"]) == (2, 0, 1)


def test_shares_are_of_all_lines_and_in_words():
    lines = [
        {"seconds": {"data": 1.0, "forward": 2.0}},
        {"eval_loss": 1.0},
        {"seconds": {"data": 1.0, "saving": 0.001}},
    ]
    seconds = add_up(lines)
    assert (seconds["data"], seconds["forward"], seconds["saving"]) == (2, 2, 0.001)
    assert in_shares(seconds) == "waiting for data 50%, forward 50%"
    assert add_up([{"loss": 1.0}]) == {} and in_shares({}) == ""


@pytest.mark.parametrize(
    ("waited", "workers", "said"),
    [
        *((5, 0, ""), (40, 0, "training.dataloader_num_workers=8 (it is 0"), (40, 8, "All 8 cores prepare it")),
        (4, 0, ""),
    ],
)
@pytest.mark.parametrize("whole", [100, 8])
def test_advice_is_given_where_more_than_a_tenth_and_more_than_seconds_were_waiting(
    monkeypatch, waited, workers, said, whole
):
    monkeypatch.setattr(time_account, "processors", lambda: 8)
    args = SimpleNamespace(dataloader_num_workers=workers, world_size=1)
    waited *= whole / 100
    said = said if waited >= 5 else ""
    found = advice({"data": waited, "forward": whole - waited}, args)
    assert said in found and bool(found) == bool(said)


def test_utilisation_counts_the_forward_pass_of_the_first_batch_three_times():
    meter = FlopMeter(peak=1e6)
    layer = nn.Linear(10, 20, bias=False)
    for rows in (5, 50):
        with meter.counted():
            layer(torch.zeros(rows, 10))
    assert meter.flops == 2 * 5 * 10 * 20
    assert meter.utilisation(batches_per_second=10) == pytest.approx(3 * 2000 * 10 / 1e6)


def test_a_device_whose_peak_is_not_known_has_no_utilisation(monkeypatch):
    assert peak_flops(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    assert peak_flops(torch.device("cuda")) == 989e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some other card")
    assert peak_flops(torch.device("cuda")) is None
    meter = FlopMeter(None)
    with meter.counted():
        torch.zeros(2, 2) @ torch.zeros(2, 2)
    assert meter.flops is None and meter.utilisation(1.0) is None


def test_samples_a_second_are_of_the_rows_that_a_batch_has(tmp_path, quiet):
    """An epoch's last batch is a smaller one; all rows have as many tokens."""
    rows = [{"query": "where is amber", "doc": f"amber lies by {i}"} for i in range(6)]
    job = text_job(tmp_path, rows, per_device_train_batch_size=4, num_train_epochs=1, max_steps=-1)
    run(job, tmp_path, quiet)
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    rates = [(one["tokens_per_second"], one["samples_per_second"]) for one in logged if "samples_per_second" in one]
    assert len(rates) == 2
    assert rates[0][0] / rates[0][1] == pytest.approx(rates[1][0] / rates[1][1])
