"""Rows that batches without duplicates never come to are told before training."""

import pytest
from sentence_transformers.base.sampler import NoDuplicatesBatchSampler
from small_job import write_job
from text_job import text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.evaluation.evaluator_suite import prepare_evaluation
from mmst_cli.runs import RunFolder
from mmst_cli.training.training_job import TrainingJob

PAGES = 4


@pytest.mark.parametrize(
    ("size", "drop_last", "left"), [(8, False, 12), (4, False, 0), (3, False, 0), (5, False, 4), (5, True, 8)]
)
def test_they_are_those_that_the_sampler_has_no_batch_for(tmp_path, quiet, monkeypatch, size, drop_last, left):
    """24 rows, of which 6 each have the same document: 4 rows at most make a batch."""
    rows = text_rows(24, doc=[f"page {i % PAGES}" for i in range(24)])
    training = {"batch_sampler": "no_duplicates", "dataloader_drop_last": drop_last, "max_steps": -1}
    job = text_job(tmp_path, rows, per_device_train_batch_size=size, num_train_epochs=1, **training)
    config = load_config(write_job(job, tmp_path / "job.yaml"))
    prepared = prepare_evaluation(config, quiet, list(config.datasets))
    told = []
    monkeypatch.setattr(type(quiet), "warn", lambda self, message: told.append(message))
    job = TrainingJob(config, RunFolder(tmp_path / "run"), prepared, quiet)
    job.rehearse()
    said = [one for one in told if one.startswith("training.batch_sampler: of datasets.train")]
    if not drop_last:
        sampler = NoDuplicatesBatchSampler(job.row_keys["train"], size, drop_last, generator=None, seed=1)
        drawn = sum(len(batch) for batch, _ in zip(sampler, range(job.steps), strict=False))
        assert drawn == 24 - left if size >= PAGES else drawn <= 24 - left
    assert len(said) == bool(left)
    if left:
        assert f"at least {left} of 24 rows are left out" in said[0]
        assert "column doc holds the same in up to 6 rows" in said[0]
        assert "per_device_train_batch_size to 4," in said[0]
