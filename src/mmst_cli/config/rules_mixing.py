"""Rules for training sets beside one another: their names, their weights, and streams."""

from __future__ import annotations

from typing import Any

from mmst_cli.config.loss_stacks import loss_keys, training_datasets
from mmst_cli.config.schema import Config, DatasetConfig, Role, Use

_IN_MODULE_NAMES = "/."  # torch refuses the dot in the name of a loss, and a file the slash in that of a metric


def check_mixing(config: Config) -> list[str]:
    """Return the faults of names, weights, streams, and of batches by label."""
    faults = []
    if config.training.get("batch_sampler") == "group_by_label":
        faults += [
            f"training.batch_sampler: group_by_label draws batches by their labels, and {name} has no label column."
            for name in loss_keys(config)
            if not any(column.role is Role.label for column in config.datasets[name].columns.values())
        ]
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}"
        if any(character in name for character in _IN_MODULE_NAMES):
            faults.append(f"{key}: the name becomes part of the names of metrics, so it can't have a / or . in it.")
        if dataset.weight <= 0:
            faults.append(f"{key}.weight: found {dataset.weight:g}; it is above 0. Leave the dataset out for none.")
        if dataset.weight != 1 and dataset.use is not Use.train:
            faults.append(f"{key}.weight: only training sets are weighted, and this one is for {dataset.use}.")
        if dataset.streaming:
            faults += _check_stream(config, dataset, key)
    return faults


def warn_of_weights(config: Config) -> list[str]:
    """Return warnings where a weight doesn't do what it is for."""
    training = training_datasets(config)
    weighted = [name for name, dataset in training.items() if dataset.weight != 1]
    if not weighted:
        return []
    key = f"datasets.{weighted[0]}.weight"
    if len(training) == 1:
        return [f"{key}: with one training set it only makes an epoch longer or shorter."]
    if config.training.get("multi_dataset_batch_sampler") == "round_robin":
        return [
            f"{key}: round_robin takes as many batches from each set, so a weight only changes how soon the rows of"
            " a set are used up. Set training.multi_dataset_batch_sampler to proportional."
        ]
    return []


def _check_stream(config: Config, dataset: DatasetConfig, key: str) -> list[str]:
    training, faults = config.training, []
    if dataset.use is not Use.train:
        return [f"{key}.streaming: only a training set is read as a stream. Leave it out."]
    others = [name for name in training_datasets(config) if config.datasets[name] is not dataset]
    if others:
        faults.append(f"{key}.streaming: a stream is trained on alone, and {', '.join(others)} is there as well.")
    steps: Any = training.get("max_steps", -1)
    if not isinstance(steps, int) or steps < 1:
        faults.append("training.max_steps: missing. A stream has no length, so its training needs a number of steps.")
    sampler = training.get("batch_sampler", "batch_sampler")
    if sampler != "batch_sampler":
        faults.append(
            f"training.batch_sampler: {sampler} chooses among all rows, and a stream is read in its order."
            " Leave it out."
        )
    told = {"max_rows": dataset.max_rows is not None, "weight": dataset.weight != 1, "sql": dataset.sql is not None}
    return faults + [
        f"{key}.{name}: it needs all rows at once, and a stream gives one after another. Leave one of the two out."
        for name, given in told.items()
        if given
    ]
