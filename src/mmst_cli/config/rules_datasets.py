"""Rules for the datasets: each by itself, beside one another, and as the loss reads them."""

from __future__ import annotations

from typing import Any

from mmst_cli.config.rules_columns import check_columns, check_roles
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_mining import check_filling, mined_columns
from mmst_cli.config.schema import Config, DatasetConfig, Layout, Modality, OnBadRow, Role, Use

TABLE_OF = {Role.anchor: "queries", Role.positive: "corpus"}
"""In which table of layout beir a column of a role stands."""

_IN_MODULE_NAMES = "/."  # torch refuses the dot in the name of a loss, and a file the slash in that of a metric
_RESERVED = ("return_loss", "dataset_name")


def check_datasets(config: Config) -> list[str]:
    """Return the faults of the datasets that hold for training and evaluation alike."""
    faults = []
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}"
        if not dataset.path.strip():
            faults.append(f"{key}.path: it is empty. Name a hub id, a file, a folder or built-in data.")
        if not dataset.columns:
            faults.append(f"{key}.columns: none is declared. List the columns to use, each with its role.")
        if dataset.max_rows is not None and dataset.max_rows < 1:
            faults.append(f"{key}.max_rows: found {dataset.max_rows}; it is 1 or more. Leave it out for all rows.")
        faults += _check_bad_rows(dataset, key)
        if dataset.layout is Layout.beir:
            faults += _check_judgements(dataset, key)
        faults += check_columns(dataset, key)
        faults += check_filling(dataset, key)
        faults += [
            f"{key}.columns.{column}: the trainer keeps this name for itself. Rename the column in the data."
            for column in dataset.columns
            if column in _RESERVED
        ]
        faults += [
            f"{key}.columns.{longer}: the trainer takes a name that begins with {shorter}_ for a part of {shorter}."
            " Rename one of the two in the data."
            for shorter in dataset.columns
            for longer in dataset.columns
            if longer.startswith(f"{shorter}_")
        ]
    return faults


def check_training_datasets(config: Config) -> list[str]:
    """Return the faults that keep the loss from being computed: its datasets and their roles."""
    faults = []
    training, keys = training_datasets(config), loss_keys(config)
    without = [name for name in training if not loss_layers(config, keys[name])]
    judged = not training and bool(config.evaluators)  # a config for `mmst eval`, which needs no loss
    if without or not (training or config.loss or judged):
        whose = f" for {', '.join(without)}" if len(training) > 1 else ""
        faults.append(f"loss: none is declared{whose}. Training needs one, such as MultipleNegativesRankingLoss.")
    if not training:
        instead = " `mmst eval CONFIG` evaluates on those that are there." if judged else ""
        faults.append(f"datasets: none has `use: train`. Training needs one.{instead}")
    for name, key in keys.items():
        dataset, layers = config.datasets[name], loss_layers(config, key)
        if dataset.layout is Layout.beir:
            if dataset.use is Use.eval:
                faults.append(
                    f"datasets.{name}.layout: no evaluator reads {name}, and the loss can't be computed on layout"
                    " beir. Add an evaluator, or leave the dataset out."
                )
        elif dataset.columns:
            innermost = layers[0].type if layers else None
            columns = [*dataset.columns.values(), *mined_columns(dataset)]
            faults += check_roles(columns, innermost, f"datasets.{name}.columns")
    return faults


def warn_of_id_columns(config: Config) -> list[str]:
    """Return a warning for every column that is named like an identifier and would be embedded as text."""
    return [
        f"datasets.{name}.columns.{column}: by its name this is an identifier; it will be embedded as text."
        " Leave the column out if it is one."
        for name, dataset in config.datasets.items()
        for column, declared in dataset.columns.items()
        if (column == "id" or str(column).endswith("_id"))
        and declared.modality is Modality.text
        and declared.role is not Role.label
    ]


def _check_bad_rows(dataset: DatasetConfig, key: str) -> list[str]:
    skips, at_most = dataset.on_bad_row is OnBadRow.skip, dataset.max_bad_rows
    faults = []
    if skips and dataset.layout is Layout.beir:
        faults.append(
            f"{key}.on_bad_row: the judgements of layout beir are about its rows, so that leaving some out would change"
            " what is measured. Mend the rows, and leave on_bad_row out."
        )
    if at_most is not None and at_most < 0:
        faults.append(f"{key}.max_bad_rows: found {at_most}; it is 0 or more.")
    if at_most is not None and not skips:
        faults.append(
            f"{key}.max_bad_rows: the first broken row is an error, so there is nothing to limit. Set on_bad_row: skip,"
            " or leave it out."
        )
    return faults


def _check_judgements(dataset: DatasetConfig, key: str) -> list[str]:
    faults = []
    if dataset.use is not Use.eval:
        faults.append(f"{key}.use: layout beir is for evaluation. Set use: eval.")
    if dataset.path.startswith("builtin:"):
        faults.append(f"{key}.layout: {dataset.path} holds rows. Leave layout out.")
    if dataset.name is not None:
        faults.append(f"{key}.name: layout beir reads the configurations corpus, queries and qrels. Leave it out.")
    if dataset.sql is not None:
        faults.append(f"{key}.sql: layout beir is three tables, and sql is about one. Leave one of the two out.")
    roles = [column.role for column in dataset.columns.values()]
    if dataset.columns and roles.count(Role.anchor) != 1:
        faults.append(
            f"{key}.columns: layout beir needs exactly one anchor column, that of the queries, and there is"
            f" {roles.count(Role.anchor) or 'none'}."
        )
    if dataset.columns and Role.positive not in roles:
        faults.append(f"{key}.columns: layout beir needs at least one positive column, of the corpus, and has none.")
    for column, declared in dataset.columns.items():
        table = TABLE_OF.get(declared.role)
        named, slash, _ = column.partition("/")
        if table is None:
            faults.append(
                f"{key}.columns.{column}.role: layout beir has an anchor and positives, found {declared.role}."
                " The whole corpus competes, so leave the column out."
            )
        elif slash and named in TABLE_OF.values() and named != table:
            faults.append(
                f"{key}.columns.{column}.role: {declared.role} columns are those of {table}. Change role or name."
            )
    return faults


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
    if dataset.prepare:
        faults.append(f"{key}.prepare: a stream isn't read before it is trained on. Leave one of the two out.")
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
