"""The sets a run trains on: how often a row of each is seen, and whether the loss takes what was loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mmst_cli.config.rules_columns import check_inputs
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_mining import mined_columns
from mmst_cli.config.schema import Config, DatasetConfig, Role
from mmst_cli.errors import ConfigError
from mmst_cli.rows.columns import RowSet
from mmst_cli.rows.labels import check_labels
from mmst_cli.sources.tables import choose_indices


def loss_rows(config: Config, rows: Mapping[str, object]) -> dict[str, RowSet]:
    """Return the rows that a loss is computed on by dataset, training sets first and weighted.

    Raises:
        ConfigError: the columns as loaded are not what the loss takes, or a weight leaves no row.
    """
    keys, training = loss_keys(config), training_datasets(config)
    found = {name: data for name in keys if isinstance(data := rows.get(name), RowSet)}
    faults = []
    for name, data in found.items():
        layers = loss_layers(config, keys[name])
        roles = [column.role for column in data.columns] + _to_be_mined(config.datasets[name], data)
        faults += check_inputs(roles, layers[0].type if layers else None, f"datasets.{name}.columns")
        if layers and not faults:
            faults += check_labels(data, layers[0], keys[name], trains=name in training)
    if faults:
        raise ConfigError(*faults)
    seed = config.seed
    return {n: weigh_rows(d, training[n].weight, seed) if n in training else d for n, d in found.items()}


def _to_be_mined(section: DatasetConfig, rows: RowSet) -> list[Role]:
    """Return the roles of the negatives that a set is still going to get."""
    mined = any(column.is_mined for column in rows.columns)
    return [] if mined else [column.role for column in mined_columns(section)]


def weigh_rows(rows: RowSet, weight: float, seed: int) -> RowSet:
    """Return every row as often as the whole part of ``weight`` says, and a share as its fraction is once more.

    Args:
        rows: a training set.
        weight: how often a row is seen in an epoch; 1.5 is every row once and half of them again.
        seed: chooses the share.

    Raises:
        ConfigError: no row is left.
    """
    if weight == 1:
        return rows
    count, whole = len(rows), int(weight)
    once_more = choose_indices(count, round((weight - whole) * count), seed)
    indices = sorted([*range(count)] * whole + once_more)
    if not indices:
        raise ConfigError(f"datasets.{rows.key}.weight: {weight:g} of {count:,} rows is none. Give it more.")
    return replace(rows, rows=rows.rows.select(indices))
