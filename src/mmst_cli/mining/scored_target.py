"""What `mmst score` is asked to score: a training set of a config, or data by themselves. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.rules_mining import check_scorable, check_settings
from mmst_cli.config.schema import ColumnConfig, MineConfig, Role
from mmst_cli.errors import ConfigError
from mmst_cli.mining.mining_target import (
    CONFIG_SUFFIXES,
    DATA,
    Target,
    choose_set,
    config_of_data,
    option,
    refuse_beside_config,
    refuse_beside_data,
    split_column,
)


def find_scored(
    target: str,
    overrides: Sequence[str],
    *,
    dataset: str | None,
    data: Mapping[str, str | None],
    negatives: Sequence[str],
    take: int | None,
    teacher: MineConfig,
) -> Target:
    """Return what to score, checked as far as it can be without torch.

    Args:
        target: a config, or data: a file, a folder, a hub id or built-in data.
        overrides: changes of the config.
        dataset: the training set of the config.
        data: what says how data by themselves are read: anchor, positive, name, split, sql.
        negatives: of data by themselves: the columns of negatives, as COLUMN or COLUMN:MODALITY.
        take: of data by themselves: how many entries of a column of lists.
        teacher: the model, its revision, and the settings that scoring shares with mining.

    Raises:
        ConfigError: with one sentence a fault.
    """
    if teacher.model is None:
        raise ConfigError("--model: missing. Name the teacher, a CrossEncoder or an embedding model.")
    if faults := check_settings(teacher, option):
        raise ConfigError(*faults)
    given = {**data, "negative": negatives[0] if negatives else None, "take": None if take is None else str(take)}
    if Path(target).suffix in CONFIG_SUFFIXES:
        refuse_beside_config(target, given)
        config = load_checked_config(target, overrides, for_training=False, for_mining=True)
        return Target(config, choose_set(config, dataset, target, check_scorable), teacher, Path(target))
    refuse_beside_data(target, overrides, dataset)
    columns = {}
    for named in negatives:
        name, modality = split_column(named)
        columns[name] = ColumnConfig(role=Role.negative, modality=modality, take=take)
    if not columns:
        raise ConfigError(
            f"--negative: missing. Name the columns of {target} that hold negatives; where there are none, mmst mine"
            " finds them."
        )
    return Target(config_of_data(target, data, teacher.model, teacher.revision, columns), DATA, teacher, None)
