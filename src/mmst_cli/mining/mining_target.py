"""What `mmst mine` is asked to mine in: a training set of a config, or data by themselves. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmst_cli.config.rules import check_config, load_checked_config
from mmst_cli.config.rules_loss import loss_keys, loss_layers, training_datasets
from mmst_cli.config.rules_mining import check_minable, check_settings
from mmst_cli.config.schema import (
    SELF,
    ColumnConfig,
    Config,
    DatasetConfig,
    Index,
    Layout,
    MineConfig,
    Modality,
    ModelConfig,
    Role,
    Sampling,
    Use,
)
from mmst_cli.errors import ConfigError, did_you_mean

CONFIG_SUFFIXES = (".yaml", ".yml")
DATA = "train"
"""Name of the set that data by themselves are."""


@dataclass(frozen=True)
class Target:
    """What is mined in, and how."""

    config: Config
    dataset: str
    mine: MineConfig
    path: Path | None
    """The config's file, if there is one."""

    @property
    def loss(self) -> str | None:
        """The innermost loss of the set; None where the config has none."""
        layers = loss_layers(self.config, loss_keys(self.config)[self.dataset])
        return layers[0].type if layers else None


def find_target(
    target: str,
    overrides: Sequence[str],
    *,
    dataset: str | None,
    data: Mapping[str, str | None],
    settings: Mapping[str, Any],
) -> Target:
    """Return what to mine in, checked as far as it can be without torch.

    Args:
        target: a config, or data: a file, a folder, a hub id or built-in data.
        overrides: changes of the config.
        dataset: the training set of the config.
        data: what says how data by themselves are read: anchor, positive, name, split.
        settings: those of MineConfig that were given, over those of the file.

    Raises:
        ConfigError: with one sentence a fault.
    """
    if Path(target).suffix in CONFIG_SUFFIXES:
        refuse_beside_config(target, data)
        config = load_checked_config(target, overrides, for_training=False, for_mining=True)
        name = choose_set(config, dataset, target, check_minable)
        mine = merge_settings(config.datasets[name].mine or MineConfig(), settings)
        return Target(config, name, mine, Path(target))
    refuse_beside_data(target, overrides, dataset)
    if settings.get("model") is None:
        raise ConfigError(f"--model: missing. Name the model to mine in {target} with.")
    config = config_of_data(target, data, str(settings["model"]), settings.get("revision"))
    mine = merge_settings(MineConfig(), {k: v for k, v in settings.items() if k not in ("model", "revision")})
    return Target(config, DATA, mine, None)


def refuse_beside_config(target: str, data: Mapping[str, str | None]) -> None:
    """Raise ConfigError where options say what the config says."""
    if given := [name for name, value in data.items() if value is not None]:
        raise ConfigError(f"--{given[0]}: {target} says this itself. Leave it out, or change the file by KEY=VALUE.")


def refuse_beside_data(target: str, overrides: Sequence[str], dataset: str | None) -> None:
    """Raise ConfigError where options are about a config, and there is none."""
    if overrides:
        raise ConfigError(f"{overrides[0]}: only a config is changed by KEY=VALUE, and {target} is none.")
    if dataset is not None:
        raise ConfigError(f"--dataset: only a config has several, and {target} is none. Leave it out.")


def choose_set(
    config: Config, dataset: str | None, target: str, check: Callable[[dict[str, ColumnConfig], str], list[str]]
) -> str:
    """Return the set to work on, after checking that it is one of rows and its columns are what is needed."""
    training = training_datasets(config)
    if dataset is None:
        if len(training) != 1:
            found = f"there are {', '.join(training)}" if training else "there is none"
            raise ConfigError(f"--dataset: missing. Of the sets of {target} with use: train {found}; name one.")
        dataset = next(iter(training))
    section = config.datasets.get(dataset)
    if section is None:
        raise ConfigError(
            f"--dataset {dataset}: {target} has {', '.join(config.datasets)}.{did_you_mean(dataset, config.datasets)}"
        )
    if section.streaming or section.layout is not Layout.rows:
        raise ConfigError(f"--dataset {dataset}: rows are read as a whole. Take layout rows, no stream.")
    if faults := check(section.columns, f"datasets.{dataset}.columns"):
        raise ConfigError(*faults)
    return dataset


def config_of_data(
    target: str,
    data: Mapping[str, str | None],
    model: str,
    revision: str | None,
    more: Mapping[str, ColumnConfig] | None = None,
) -> Config:
    """Return a config that holds nothing but the data, with ``more`` columns than anchor and positive, and a model."""
    faults = [
        f"--{role}: missing. Name the column of {target} that holds the {role}s, as COLUMN or COLUMN:image."
        for role in ("anchor", "positive")
        if not data[role]
    ]
    if faults:
        raise ConfigError(*faults)
    columns = {}
    for role in (Role.anchor, Role.positive):
        name, modality = split_column(str(data[str(role)]))
        columns[name] = ColumnConfig(role=role, modality=modality)
    if len(columns) < 2:
        raise ConfigError(f"--positive {data['positive']}: that is the column of anchors. Name another one.")
    if twice := next((name for name in more or {} if name in columns), None):
        raise ConfigError(f"--negative {twice}: that is the column of anchors or positives. Name another one.")
    section = DatasetConfig(
        use=Use.train,
        path=target,
        columns={**columns, **(more or {})},
        name=data["name"],
        split=data["split"] or "train",
        sql=data.get("sql"),
    )
    config = Config(model=ModelConfig(name_or_path=model, revision=revision), datasets={DATA: section})
    check_config(config, for_training=False, for_mining=True)
    return config


def split_column(text: str) -> tuple[str, Modality]:
    """Tell `name` from `name:modality`; a column's own name may hold a colon."""
    name, _, declared = text.rpartition(":")
    return (name, Modality(declared)) if name and declared in list(Modality) else (text, Modality.text)


def merge_settings(base: MineConfig, given: Mapping[str, Any]) -> MineConfig:
    """Return settings with those of the command line over those of the file.

    Raises:
        ConfigError: with one sentence a fault.
    """
    changes = {name: value for name, value in given.items() if value is not None}
    faults = []
    for name, kind in (("sampling_strategy", Sampling), ("index", Index)):
        if name in changes and changes[name] not in list(kind):
            known = ", ".join(kind)
            faults.append(f"{option(name)} {changes[name]}: there is {known}.{did_you_mean(changes[name], list(kind))}")
        elif name in changes:
            changes[name] = kind(changes[name])
    if faults:
        raise ConfigError(*faults)
    if changes.get("model") == SELF:
        changes["model"] = None
    if "model" in changes and "revision" not in changes:
        changes["revision"] = None  # that of the file is of another model
    mine = base.model_copy(update=changes)
    if faults := check_settings(mine, option):
        raise ConfigError(*faults)
    return mine


def option(setting: str) -> str:
    """Return what a setting is called on the command line."""
    return f"--{setting.replace('_', '-')}"


def given_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the arguments of the command."""
    return {name: values.get(name) for name in MineConfig.model_fields}
