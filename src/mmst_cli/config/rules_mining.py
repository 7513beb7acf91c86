"""Rules for `datasets.X.mine`, and for the same settings given to `mmst mine`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

from mmst_cli.config.schema import ColumnConfig, Config, DatasetConfig, Fill, Layout, MineConfig, Role, Use

LIMITS = ("max_score", "min_score", "absolute_margin", "relative_margin")
"""The settings by which a score alone keeps a document from being a negative."""
LOSSES_OF_SCORES = ("DistillKLDivLoss", "MarginMSELoss")
"""The losses of which a label is a score for each document of the row."""
MINED_SCORES = ("scores", "mined_scores")
"""What mining calls the column of scores that it adds: the first that is free."""


def check_mining(config: Config) -> list[str]:
    """Return the faults of all ``mine`` sections."""
    faults = []
    for name, dataset in config.datasets.items():
        if dataset.mine is not None:
            key = f"datasets.{name}.mine"
            faults += _check_set(dataset, key)
            faults += check_settings(dataset.mine, lambda setting, key=key: f"{key}.{setting}")  # type: ignore[misc]
            faults += _check_rounds(dataset.mine, config.training, f"{key}.every_epochs")
    return faults


def _check_rounds(mine: MineConfig, training: Mapping[str, Any], key: str) -> list[str]:
    """Return the faults of mining again in training; with `max_steps` only the rows tell how many epochs there are."""
    every = mine.every_epochs
    if every is None:
        return []
    if every < 1:
        return [f"{key}: found {every}; it is 1 or more. Leave it out to mine once, before training."]
    if training.get("auto_find_batch_size"):
        return [f"{key}: training.auto_find_batch_size begins epochs again. Leave one of the two out."]
    steps, epochs = training.get("max_steps", -1), training.get("num_train_epochs", 3)
    if isinstance(steps, int) and steps > 0:
        return []
    if isinstance(epochs, int | float) and epochs <= every:
        return [
            f"{key}: found {every}, and training.num_train_epochs is {epochs:g}: negatives are never renewed, for the"
            " first epoch has those that are mined before it. Raise num_train_epochs, or leave it out."
        ]
    return []


def mined_columns(dataset: DatasetConfig) -> list[ColumnConfig]:
    """Return the columns that mining adds to those that are declared, for the loss to count.

    It adds none where it fills up lists of negatives that are there.
    """
    if dataset.mine is None or fills_by_mining(dataset):
        return []
    return [ColumnConfig(role=Role.negative, take=1)] * dataset.mine.num_negatives


def fills_by_mining(dataset: DatasetConfig) -> bool:
    """Say whether a list of negatives is filled up by mining."""
    return any(column.fill is Fill.mine for column in dataset.columns.values())


def check_filling(dataset: DatasetConfig, key: str) -> list[str]:
    """Return the faults of a dataset whose lists of negatives are filled up; ``key`` is that of the dataset."""
    columns = {name: column for name, column in dataset.columns.items() if column.fill is not None}
    faults = [
        f"{key}.columns.{name}.fill: {label} says something of the negatives that a row has, and nothing of those that"
        " fill it up. Leave one of the two out."
        for name in columns
        for label, declared in dataset.columns.items()
        if declared.role is Role.label
    ]
    for name, column in columns.items():
        if column.fill is Fill.mine and dataset.use is not Use.train:
            faults.append(f"{key}.columns.{name}.fill: only for a training set negatives are mined. Set sample.")
    roles = [column.role for column in dataset.columns.values()]
    if fills_by_mining(dataset) and dataset.mine is None:  # else they are counted there
        faults += _check_counts(roles, f"{key}.columns")
    return faults


def negative_names(taken: Iterable[str], count: int) -> list[str]:
    """Return the names of new columns of negatives beside those that are there.

    The trainer takes `negative_1` for a part of `negative`, so where that or another numbered one is there, the new
    ones are called `mined_1` and so on.
    """
    taken = list(taken)
    usual = not any(name == "negative" or name.startswith("negative_") for name in taken)
    return [f"{'negative' if usual else 'mined'}_{number}" for number in range(1, count + 1)]


def check_settings(mine: MineConfig, name: Callable[[str], str]) -> list[str]:
    """Return the faults of single settings and of how they go together, as sentence-transformers refuses them.

    Args:
        mine: the settings.
        name: what a setting is called where it was given.
    """
    whole = {"num_negatives": 1, "range_min": 0, "batch_size": 1}
    faults = [
        f"{name(setting)}: found {getattr(mine, setting)}; it is {least} or more."
        for setting, least in whole.items()
        if getattr(mine, setting) < least
    ]
    if not faults and mine.range_max is not None:
        left = mine.range_max - mine.range_min
        if left < mine.num_negatives:
            faults.append(
                f"{name('range_max')}: found {mine.range_max}, which leaves {max(0, left)} documents behind the first"
                f" {mine.range_min} (range_min), and {mine.num_negatives} negatives are wanted. Raise it to"
                f" {mine.range_min + mine.num_negatives} or more, or leave it out."
            )
    faults += [
        f"{name(setting)}: found {value}; it is a number."
        for setting in (*LIMITS, "min_positive_score")
        if (value := getattr(mine, setting)) is not None and not isfinite(value)
    ]
    if mine.max_score is not None and mine.min_score is not None and mine.min_score > mine.max_score:
        faults.append(f"{name('min_score')}: {mine.min_score:g} is above max_score, {mine.max_score:g}. Swap them.")
    if mine.second_model is not None and all(getattr(mine, limit) is None for limit in LIMITS):
        faults.append(
            f"{name('second_model')}: it is asked which documents score too high, and nothing says what that is. Set"
            f" {', '.join(map(name, LIMITS[:-1]))} or {name(LIMITS[-1])}, or leave it out. To"
            " score negatives that are there, take mmst score."
        )
    if mine.revision is not None and mine.model is None:
        faults.append(f"{name('revision')}: found without a model that it is of. Name the model, or leave it out.")
    return faults


def check_minable(columns: dict[str, ColumnConfig], key: str) -> list[str]:
    """Return the faults of columns that keep negatives from being mined; ``key`` is that of the columns."""
    roles = [column.role for column in columns.values()]
    faults = _check_counts(roles, key)
    if Role.label in roles:
        faults.append(f"{key}: a label says something of the inputs of its row, not of mined ones. Leave it out.")
    names = set(negative_names(columns, 1_000)) & set(columns)
    return faults + [f"{key}.{name}: mined negatives are called so. Rename it in the data." for name in sorted(names)]


def check_scorable(columns: dict[str, ColumnConfig], key: str) -> list[str]:
    """Return the faults of columns that keep a teacher from scoring what rows name; ``key`` is that of the columns."""
    roles = [column.role for column in columns.values()]
    faults = _check_counts(roles, key, "scoring")
    if Role.negative not in roles:
        faults.append(f"{key}: no column has the role negative, so there is nothing to score: mmst mine finds some.")
    return faults + [
        f"{key}.{name}.fill: what is filled in is no part of the table, so no score can stand beside it. Leave it out."
        for name, column in columns.items()
        if column.fill is not None
    ]


def _check_counts(roles: list[Role], key: str, work: str = "mining") -> list[str]:
    return [
        f"{key}: {work} needs exactly one {role} column, and there is {roles.count(role) or 'none'}."
        for role in (Role.anchor, Role.positive)
        if roles.count(role) != 1
    ]


def _check_set(dataset: DatasetConfig, key: str) -> list[str]:
    if dataset.use is not Use.train:
        return [f"{key}: only negatives of a training set are mined, and this one is for {dataset.use}. Leave it out."]
    if dataset.streaming:
        return [f"{key}: mining compares all rows, and a stream gives one after another. Leave one of the two out."]
    if dataset.layout is not Layout.rows:
        return [f"{key}: mining reads rows, and this set has layout {dataset.layout}. Leave it out."]
    return check_minable(dataset.columns, key.removesuffix("mine") + "columns") if dataset.columns else []
