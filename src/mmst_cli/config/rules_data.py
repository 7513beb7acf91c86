"""Rules for the model's bounds, the datasets, and the roles that the loss can use."""

from __future__ import annotations

from mmst_cli.config.loss_stacks import loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_columns import check_columns
from mmst_cli.config.rules_mining import mined_columns
from mmst_cli.config.rules_roles import check_roles
from mmst_cli.config.schema import Config, DatasetConfig, Layout, Modality, OnBadRow, Role, Use

TABLE_OF = {Role.anchor: "queries", Role.positive: "corpus"}
"""In which table of layout beir a column of a role stands."""

_RESERVED = ("return_loss", "dataset_name")


def check_datasets(config: Config) -> list[str]:
    """Return the faults of the datasets that hold for training and evaluation alike."""
    faults = []
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}"
        if not dataset.columns:
            faults.append(f"{key}.columns: none is declared. List the columns to use, each with its role.")
        if dataset.max_rows is not None and dataset.max_rows < 1:
            faults.append(f"{key}.max_rows: found {dataset.max_rows}; it is 1 or more. Leave it out for all rows.")
        faults += _check_bad_rows(dataset, key)
        if dataset.layout is Layout.beir:
            faults += _check_judgements(dataset, key)
        faults += check_columns(dataset, key)
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
    if without or not (training or config.loss):
        whose = f" for {', '.join(without)}" if len(training) > 1 else ""
        faults.append(f"loss: none is declared{whose}. Training needs one, such as MultipleNegativesRankingLoss.")
    if not training:
        faults.append("datasets: none has `use: train`. Training needs one.")
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
