"""Which loss goes with which dataset: its own, or that of the file."""

from __future__ import annotations

from mmst_cli.config.schema import Config, DatasetConfig, LossConfig, Use


def training_datasets(config: Config) -> dict[str, DatasetConfig]:
    """Return the `use: train` datasets, in the order of the file."""
    return {name: dataset for name, dataset in config.datasets.items() if dataset.use is Use.train}


def loss_datasets(config: Config) -> dict[str, DatasetConfig]:
    """Return the `use: eval` datasets that no evaluator reads: on those the loss is computed."""
    read = {evaluator.dataset for evaluator in config.evaluators.values()}
    return {n: d for n, d in config.datasets.items() if d.use is Use.eval and n not in read}


def loss_keys(config: Config) -> dict[str, str]:
    """Return dataset to the dotted key of its loss, for every dataset that a loss is computed on.

    That is its own loss, else the one of the file, else, for an evaluation dataset, that of the first
    training set. The key stays that of the file where there is none at all.
    """
    training = training_datasets(config)
    keys = {name: f"datasets.{name}.loss" if dataset.loss else "loss" for name, dataset in training.items()}
    fallback = "loss" if config.loss or not keys else next(iter(keys.values()))
    for name, dataset in loss_datasets(config).items():
        keys[name] = f"datasets.{name}.loss" if dataset.loss else fallback
    return keys


def loss_layers(config: Config, key: str) -> list[LossConfig]:
    """Return the layers of a loss, innermost first, by a key of :func:`loss_keys`."""
    return config.loss if key == "loss" else config.datasets[key.split(".", 1)[1].rpartition(".")[0]].loss
