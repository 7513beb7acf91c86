"""How many processes prepare the batches of a training: chosen by what a row takes, and no loss changes by it."""

import json
import pickle

import pytest
from small_job import job, write_job

from mmst_cli.config.load import load_config
from mmst_cli.training.train import run_training
from mmst_cli.training.trainer_batches import BatchTrainer
from mmst_cli.vectors import data_workers


@pytest.fixture
def chosen(monkeypatch):
    """The numbers of workers that loaders for training were built with."""
    found = []
    build = BatchTrainer._build_dataloader

    def note(trainer, dataset, batch_size, dataset_kind):
        loader = build(trainer, dataset, batch_size, dataset_kind)
        found.append(loader.num_workers)
        return loader

    monkeypatch.setattr(BatchTrainer, "_build_dataloader", note)
    return found


def losses(folder):
    lines = map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def train(folder, quiet, **training):
    config = job(folder, max_steps=4)
    config["training"] |= {"logging_steps": 1, **training}
    run_training(load_config(write_job(config, folder / "job.yaml")), terminal=quiet)
    return losses(folder)


def test_costly_rows_are_prepared_beside_the_model_with_the_same_losses(tmp_path, quiet, chosen, monkeypatch):
    monkeypatch.setattr(data_workers, "CHEAP", 0.0)
    monkeypatch.setattr(data_workers, "WORTH", 0.0)
    (tmp_path / "beside").mkdir()
    (tmp_path / "alone").mkdir()
    beside = train(tmp_path / "beside", quiet)
    assert chosen[-1] > 0
    alone = train(tmp_path / "alone", quiet, dataloader_num_workers=0)
    assert chosen[-1] == 0
    assert beside == alone and len(alone) == 4


def test_cheap_rows_start_no_process(tmp_path, quiet, chosen):
    train(tmp_path, quiet)
    assert set(chosen) == {0}


def test_another_process_gets_neither_weights_nor_the_examples_of_the_card_with_the_collator(tiny_model, monkeypatch):
    from mmst_cli.model.preprocessor import Preprocessor
    from mmst_cli.training.collator import TypedCollator

    monkeypatch.setattr(tiny_model.model_card_data, "widget", [bytes(10_000_000)])
    collator = TypedCollator(preprocess_fn=Preprocessor(tiny_model))
    weights = sum(parameter.nbytes for parameter in tiny_model.parameters())
    stored = pickle.dumps(collator)
    assert len(stored) < weights
    found = pickle.loads(stored).preprocess_fn([{"text": "a"}])["input_ids"]
    assert found.tolist() == tiny_model.preprocess([{"text": "a"}])["input_ids"].tolist()
