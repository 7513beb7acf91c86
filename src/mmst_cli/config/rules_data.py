"""Rules for the model's bounds, the datasets, and the roles that the loss can use."""

from __future__ import annotations

from mmst_cli.config.rules_evaluators import loss_datasets
from mmst_cli.config.schema import Config, DatasetConfig, Layout, Modality, ModelConfig, Role, Use
from mmst_cli.config.signatures import LossInput, loss_inputs
from mmst_cli.config.values import describe

TABLE_OF = {Role.anchor: "queries", Role.positive: "corpus"}
"""In which table of layout beir a column of a role stands."""

_RESERVED = ("return_loss", "dataset_name")


def check_model(model: ModelConfig) -> list[str]:
    """Return the faults of the pixel bounds: positive whole numbers, the lower below the upper."""
    key, faults = "model.processor", []
    bounds = {name: model.processor[name] for name in ("min_pixels", "max_pixels") if name in model.processor}
    for name, value in bounds.items():
        if type(value) is not int or value < 1:
            faults.append(f"{key}.{name}: found {describe(value)}; it is a whole number of pixels above 0.")
    if not faults and len(bounds) == 2 and bounds["min_pixels"] > bounds["max_pixels"]:
        faults.append(
            f"{key}.min_pixels: {bounds['min_pixels']} is above max_pixels, {bounds['max_pixels']}."
            " Swap or change them."
        )
    return faults


def check_datasets(config: Config) -> list[str]:
    """Return the faults of the datasets that hold for training and evaluation alike."""
    faults = []
    for name, dataset in config.datasets.items():
        key = f"datasets.{name}"
        if not dataset.columns:
            faults.append(f"{key}.columns: none is declared. List the columns to use, each with its role.")
        if dataset.max_rows is not None and dataset.max_rows < 1:
            faults.append(f"{key}.max_rows: found {dataset.max_rows}; it is 1 or more. Leave it out for all rows.")
        if dataset.layout is Layout.beir:
            faults += _check_judgements(dataset, key)
        faults += [
            f"{key}.columns.{column}: the trainer keeps this name for itself. Rename the column in the data."
            for column in dataset.columns
            if column in _RESERVED
        ]
    return faults


def check_training_datasets(config: Config) -> list[str]:
    """Return the faults that keep the loss from being computed: its datasets and their roles."""
    faults = []
    training = {name: dataset for name, dataset in config.datasets.items() if dataset.use is Use.train}
    if not config.loss:
        faults.append("loss: none is declared. Training needs one, such as MultipleNegativesRankingLoss.")
    if not training:
        faults.append("datasets: none has `use: train`. Training needs one.")
    elif len(training) > 1:
        faults.append(f"datasets: {', '.join(training)} all have `use: train`; this version trains on one dataset.")
    innermost = config.loss[0].type if config.loss else None
    for name, dataset in {**training, **loss_datasets(config)}.items():
        if dataset.layout is Layout.beir:
            if dataset.use is Use.eval:
                faults.append(
                    f"datasets.{name}.layout: no evaluator reads {name}, and the loss can't be computed on layout"
                    " beir. Add an evaluator, or leave the dataset out."
                )
        elif dataset.columns:
            faults += _check_roles(dataset, innermost, f"datasets.{name}.columns")
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


def _check_judgements(dataset: DatasetConfig, key: str) -> list[str]:
    faults = []
    if dataset.use is not Use.eval:
        faults.append(f"{key}.use: layout beir is for evaluation. Set use: eval.")
    if dataset.path.startswith("builtin:"):
        faults.append(f"{key}.layout: {dataset.path} holds rows. Leave layout out.")
    if dataset.name is not None:
        faults.append(f"{key}.name: layout beir reads the configurations corpus, queries and qrels. Leave it out.")
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


def _check_roles(dataset: DatasetConfig, innermost: str | None, key: str) -> list[str]:
    roles = [column.role for column in dataset.columns.values()]
    anchors, labels = roles.count(Role.anchor), roles.count(Role.label)
    inputs = loss_inputs(innermost) if innermost else None
    faults = []
    if anchors != 1:
        faults.append(f"{key}: {anchors or 'no'} columns have the role anchor. Give it to exactly one.")
    if labels > 1:
        faults.append(f"{key}: {labels} columns have the role label. Give it to one at most.")
    if inputs and Role.positive not in roles and all((line.at_least or 1) > 1 for line in inputs):
        faults.append(f"{key}: no column has the role positive, and {innermost} needs one.")
    if faults or inputs is None:
        return faults
    columns = len(roles) - labels
    if any(line.fits(columns, labels == 1) for line in inputs):
        return []
    found = f"{_counted(columns)} ({', '.join(role for role in roles if role is not Role.label)})"
    choices = " or ".join(dict.fromkeys(_takes(line) for line in inputs))
    with_label = "and a label" if labels else "and no label"
    return [f"{key}: found {found} {with_label}, but {innermost} takes {choices}."]


def _takes(line: LossInput) -> str:
    label = {True: " and a label", False: " and no label", None: ""}[line.label]
    if line.at_least is None:
        return f"any input columns{label}"
    if line.at_most is None:
        return f"{line.at_least} or more input columns{label}"
    return f"{_counted(line.at_least)}{label}"


def _counted(columns: int) -> str:
    return f"{columns} input column{'' if columns == 1 else 's'}"
