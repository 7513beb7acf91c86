"""Rules across fields: what the libraries let pass, or report hours later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmst_cli.config.load import read_config
from mmst_cli.config.rules_adapter import check_adapter, check_adapter_training
from mmst_cli.config.rules_datasets import (
    check_datasets,
    check_mixing,
    check_training_datasets,
    warn_of_id_columns,
    warn_of_weights,
)
from mmst_cli.config.rules_evaluators import check_evaluators
from mmst_cli.config.rules_loss import check_dimensions, check_losses, warn_of_losses
from mmst_cli.config.rules_loss_values import check_loss_values
from mmst_cli.config.rules_mining import check_mining
from mmst_cli.config.rules_model import check_media, check_model, check_names_of_columns, check_prompts
from mmst_cli.config.rules_processes import check_processes
from mmst_cli.config.rules_training import (
    check_best_model,
    check_scaling,
    check_schedule,
    check_training_fields,
    warn_of_steps,
)
from mmst_cli.config.rules_training_values import (
    check_powerless_fields,
    check_training_values,
    warn_of_idle_fields,
)
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError


def load_checked_config(
    path: Path | str, overrides: Sequence[str] = (), *, for_training: bool = True, for_mining: bool = False
) -> Config:
    """Load a config and check its rules, reporting all that is wrong with both together.

    Raises:
        ConfigError: with one sentence for each fault.
    """
    config, faults = read_config(path, overrides)
    try:
        if config is not None:
            check_config(config, for_training=for_training, for_mining=for_mining)
    except ConfigError as error:
        faults += error.faults
    if faults or config is None:
        raise ConfigError(*faults)
    return config


def check_config(config: Config, *, for_training: bool = True, for_mining: bool = False) -> list[str]:
    """Check the rules that hold between a config's fields and return its warnings.

    Args:
        config: a config as ``load_config`` returns it.
        for_training: whether a loss and a training dataset are needed; otherwise an evaluator is.
        for_mining: whether neither is needed.

    Raises:
        ConfigError: with one sentence for each broken rule, by its full dotted key.
    """
    faults = [
        *check_dimensions(config.matryoshka_dims, "matryoshka_dims"),
        *check_model(config.model),
        *check_adapter(config.model),
        *check_media(config.media),
        *check_datasets(config),
        *check_mixing(config),
        *check_mining(config),
        *check_prompts(config),
        *check_losses(config, import_own=for_training),
        *check_evaluators(config, import_own=not for_mining),
        *check_training_fields(config.training),
        *check_training_values(config.training),
    ]
    if for_training:
        faults += [
            *check_training_datasets(config),
            *check_schedule(config),
            *check_best_model(config),
            *check_scaling(config),
            *check_adapter_training(config),
            *check_processes(config),
            *check_powerless_fields(config),
            *check_loss_values(config),
            *check_names_of_columns(config),
        ]
        if not config.output_dir.strip():
            faults.append("output_dir: it is empty. Name a folder for the run.")
    elif not config.evaluators and not for_mining:
        faults.append(
            "evaluators: none is declared, so there is nothing to evaluate. Add one, such as test: {type:"
            " MatryoshkaRetrievalEvaluator, dataset: NAME}, of a dataset with use: eval."
        )
    if faults:
        raise ConfigError(*faults)
    if not for_training:
        return []
    return [
        *warn_of_id_columns(config),
        *warn_of_losses(config),
        *warn_of_weights(config),
        *warn_of_steps(config),
        *warn_of_idle_fields(config),
    ]
