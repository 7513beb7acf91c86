"""Batches drawn for all processes, cut into a share for each, as accelerate deals them out."""

import json
from collections import Counter

import torch
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler, RoundRobinBatchSampler
from torch.utils.data import ConcatDataset, RandomSampler

from mmst_cli.runs import RunFolder
from mmst_cli.training.batch_shares import BatchShares
from mmst_cli.training.training_start import take_up

ROWS = Dataset.from_dict({"query": [f"q{index // 2}" for index in range(30)], "doc": [f"d{i}" for i in range(30)]})


def no_duplicates(size=8, rows=ROWS, **options):
    return NoDuplicatesBatchSampler(rows, size, drop_last=False, generator=torch.Generator(), seed=1, **options)


def dealt_out(batches, processes):
    shares = [BatchSamplerShard(BatchShares(batches(), processes), processes, rank) for rank in range(processes)]
    return list(zip(*shares, strict=True))


def test_the_shares_of_all_processes_are_the_batch_of_one():
    together = [[*first, *second] for first, second in dealt_out(no_duplicates, 2)]
    assert together == [batch[: len(batch) // 2 * 2] for batch in no_duplicates() if len(batch) > 1]
    for batch in together:
        assert max(Counter(ROWS[index]["query"] for index in batch).values()) == 1


def test_every_process_gets_the_same_number_of_rows_and_no_row_comes_twice():
    for processes in (2, 3, 4):
        steps = dealt_out(no_duplicates, processes)
        assert all(len({len(share) for share in step}) == 1 for step in steps)
        rows = [row for step in steps for share in step for row in share]
        assert len(rows) == len(set(rows)) > 30 - processes * len(steps)


def test_shares_of_a_batch_are_of_one_set():
    sets = [ROWS, Dataset.from_dict({"query": [f"x{index}" for index in range(30)]})]

    def mixed():
        return RoundRobinBatchSampler(
            ConcatDataset(sets), [no_duplicates(rows=rows) for rows in sets], generator=torch.Generator(), seed=1
        )

    for step in dealt_out(mixed, 2):
        assert len({row // 30 for share in step for row in share}) == 1


def test_the_epoch_reaches_what_draws_the_batches():
    batches = no_duplicates()
    shares = BatchShares(batches, 2)
    shares.sampler.set_epoch(3)  # as accelerate's loader does
    assert batches.epoch == 3


def test_the_sampler_of_rows_can_be_replaced_as_in_one_process():
    inner = DefaultBatchSampler(RandomSampler(ROWS), 8, drop_last=False)
    shares = BatchShares(inner, 2)
    assert shares.sampler is inner.sampler
    shares.sampler = range(16)
    assert list(shares) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert len(shares) == 4


def test_a_run_that_goes_on_with_another_number_of_processes_is_told_of(tmp_path, quiet):
    run = RunFolder(tmp_path)
    for begun, told in ((2, True), (1, False)):
        run.write_record("{}", [], ["cpu"], {})
        run.environment.write_text(json.dumps({"processes": begun}))
        take_up(run, tmp_path / "checkpoint-4", quiet)
        assert ("begun with 2 processes and goes on with 1" in quiet.shown.getvalue()) is told
        quiet.shown.truncate(0)
